#include "core/multicast.h"

#include <cerrno>
#include <fstream>
#include <string>

#include "core/datagram_socket.h"
#include "core/socket.h"
#include "test/check.h"
#include "test/fault_injector.h"
#include "test/mailbox.h"

namespace ioloop {
namespace {

/** A receiver of what is sent to `group` on the loopback, once it joins it, and a sender. */
struct Multicast {
  UniqueFd receiver;
  UniqueFd sender;
  Address target;
};
Multicast multicast(const char* group) {
  UniqueFd receiver = boundAt("0.0.0.0");
  const std::uint16_t port = localAddress(receiver.get())->port();
  UniqueFd from = boundAt("127.0.0.1");
  CHECK(setMulticastInterface(from.get(), "lo"));
  return {std::move(receiver), std::move(from), *Address::inet(group, port)};
}

bool hears(const Multicast& link) {
  Outbox out;
  out.add("news", link.target);
  CHECK(out.send(link.sender.get()) == 1);
  Inbox in(1);
  return in.receive(link.receiver.get()) == 1;
}

TEST("a group is heard from when it is joined until it is left, whatever names the interface") {
  for (const char* interface : {"lo", "1", "127.0.0.1"}) {
    const Multicast link = multicast("239.1.2.3");
    const Membership membership{"239.1.2.3", interface, ""};
    CHECK(!hears(link));
    CHECK(joinGroup(link.receiver.get(), membership) && hears(link));
    CHECK(joinGroup(link.receiver.get(), membership).error().code == EADDRINUSE);
    CHECK(leaveGroup(link.receiver.get(), membership) && !hears(link));
    CHECK(leaveGroup(link.receiver.get(), membership).error().code == EADDRNOTAVAIL);
  }
}

#if defined(__linux__)
/** Whether somebody has joined ff02::1234 on the loopback, which routes no multicast of IPv6. */
bool isJoined() {
  std::ifstream groups("/proc/net/igmp6");
  std::string line;
  while (std::getline(groups, line)) {
    const bool here = line.find("ff020000000000000000000000001234") != std::string::npos;
    if (here && line.find(" lo ") != std::string::npos) return true;
  }
  return false;
}

TEST("a group of ipv6 has its interface by name, by address, or as its scope") {
  for (const Membership& membership :
       {Membership{"ff02::1234", "lo", ""}, Membership{"ff02::1234", "::1", ""},
        Membership{"ff02::1234%lo", "", ""}, Membership{"ff02::1234%1", "", ""}}) {
    const UniqueFd fd = boundAt("::");
    CHECK(!isJoined() && setMulticastInterface(fd.get(), "lo"));
    CHECK(joinGroup(fd.get(), membership) && isJoined());
    CHECK(leaveGroup(fd.get(), membership) && !isJoined());
  }
}
#endif

TEST("another socket's groups are not ours, and of one source no other is heard") {
  const Multicast link = multicast("239.1.2.4");
  const UniqueFd other = boundAt("0.0.0.0");
  REQUIRE(joinGroup(other.get(), {"239.1.2.4", "lo", ""}));
#if defined(__linux__)
  CHECK(!hears(link));
#endif
  const Membership stranger{"239.1.2.4", "lo", "192.0.2.99"};
  REQUIRE(joinGroup(link.receiver.get(), stranger));
  CHECK(!hears(link));
  CHECK(leaveGroup(link.receiver.get(), stranger));
  const auto own = joinGroup(link.receiver.get(), {"239.1.2.4", "lo", "127.0.0.1"});
  CHECK(own && hears(link));
}

TEST("what is no group and no interface is refused by name") {
  const UniqueFd fd = boundAt("0.0.0.0");
  const auto refused = [&](const Membership& membership) {
    return joinGroup(fd.get(), membership).error().code;
  };
  CHECK(refused({"somewhere", "", ""}) == EINVAL);
  CHECK(refused({"127.0.0.1", "lo", ""}) == EINVAL);
  CHECK(refused({"239.1.2.3", "lo", "somebody"}) == EINVAL);
  CHECK(refused({"239.1.2.3", "203.0.113.77", ""}) == EADDRNOTAVAIL);
  CHECK(refused({"239.1.2.3", "no such interface", ""}) == ENODEV);
  CHECK(refused({"239.1.2.3", "4000000000", ""}) == ENODEV);
  CHECK(setMulticastInterface(fd.get(), "nowhere0").error().code == ENODEV);
  FaultInjector faults(1);
  faults.on<&SysTable::getifaddrs>().failCall(1, ENOMEM);
  CHECK(refused({"239.1.2.3", "127.0.0.1", ""}) == ENOMEM);
}

}  // namespace
}  // namespace ioloop
