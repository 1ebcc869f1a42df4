#include "core/datagram_control.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <string>

#include "core/datagram_socket.h"
#include "core/socket.h"
#include "test/check.h"
#include "test/loopback.h"
#include "test/mailbox.h"

namespace ioloop {
namespace {

/** A receiver that wants to know all that `wanted` names, and a sender, on `host`. */
struct Link {
  UniqueFd receiver;
  UniqueFd sender;
  Address address;
};
Link linkOn(const char* host, unsigned int wanted) {
  const Address any = *Address::inet(host, 0);
  const bool isInet6 = any.family() == Address::Family::inet6;
  const DatagramKind kind = isInet6 ? DatagramKind::udp6 : DatagramKind::udp4;
  auto receiver = openDatagram(kind);
  CHECK(bindDatagram(receiver->get(), any, {}));
  CHECK(wanted == 0 || wantControl(receiver->get(), wanted));
  const auto address = localAddress(receiver->get());
  return {std::move(*receiver), std::move(*openDatagram(kind)), *address};
}

void setNumber(int fd, int level, int name, int value) {
  CHECK(::setsockopt(fd, level, name, &value, sizeof value) == 0);
}

std::int64_t timestampOf(const DatagramRow& row) {
  const auto low = static_cast<std::uint32_t>(row.info.timestamp[0]);
  return (std::int64_t{row.info.timestamp[1]} << 32) | low;
}

TEST("what was not asked for does not come along") {
  const Link link = linkOn("127.0.0.1", 0);
  Outbox out;
  out.add("plain", link.address);
  REQUIRE(out.send(link.sender.get()) == 1);
  Inbox in(1);
  REQUIRE(in.receive(link.receiver.get()) == 1);
  CHECK(in.row(0).flags == 0);
}

TEST("ecn, ttl and the time of arrival are told of both families") {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const Link link = linkOn(host, kWantInfo);
    const bool isInet6 = link.address.family() == Address::Family::inet6;
    const int level = isInet6 ? IPPROTO_IPV6 : IPPROTO_IP;
    setNumber(link.sender.get(), level, isInet6 ? IPV6_TCLASS : IP_TOS, 0x22);
    setNumber(link.sender.get(), level, isInet6 ? IPV6_UNICAST_HOPS : IP_TTL, 33);
    const auto now = [] { return std::chrono::system_clock::now().time_since_epoch().count(); };
    const std::int64_t before = now();
    Outbox out;
    out.add("", link.address);
    REQUIRE(out.send(link.sender.get()) == 1);
    Inbox in(1);
    REQUIRE(in.receive(link.receiver.get()) == 1);
    CHECK(in.row(0).flags == DatagramRow::kInfo);
    CHECK(in.row(0).info.ecn == 2 && in.row(0).info.ttl == 33);
    // The kernel may read a coarser clock than ours is.
    CHECK(timestampOf(in.row(0)) > before - 20'000'000 && timestampOf(in.row(0)) <= now());
  }
}

TEST("an answer leaves from where its question was sent to") {
  const Link link = linkOn("0.0.0.0", kWantLocal);
  Outbox out;
  out.add("?", *Address::inet("127.1.2.3", link.address.port()));
  REQUIRE(out.send(link.sender.get()) == 1);
  Inbox in(1);
  REQUIRE(in.receive(link.receiver.get()) == 1);
  const DatagramRow question = in.row(0);
  CHECK(question.flags == DatagramRow::kLocal && question.localScope == 1);
  CHECK(question.localAddress == DatagramRow::Words{0x7f010203, 0x7f010203, 0, 0});
  Outbox back;
  DatagramRow& answer = back.add("!");
  const std::int32_t offset = answer.offset;
  const std::int32_t size = answer.size;
  answer = question;
  answer.offset = offset;
  answer.size = size;
  REQUIRE(back.send(link.receiver.get()) == 1);
  REQUIRE(in.receive(link.sender.get()) == 1);
  CHECK(in.text(0) == "!" && in.row(0).address[0] == 0x7f010203);
}

TEST("a socket of both stacks tells of ipv4 in mapped addresses, and answers from them") {
  const Link link = linkOn("::", kWantLocal | kWantInfo);
  const UniqueFd inet4 = std::move(*openDatagram(DatagramKind::udp4));
  Outbox out;
  out.add("?", *Address::inet("127.0.0.9", link.address.port()));
  REQUIRE(out.send(inet4.get()) == 1);
  Inbox in(1);
  REQUIRE(in.receive(link.receiver.get()) == 1);
  DatagramRow question = in.row(0);
  CHECK(question.family == DatagramRow::kInet6);
  CHECK(question.address == DatagramRow::Words{0, 0, 0xffff, 0x7f000001});
  CHECK(question.flags == (DatagramRow::kLocal | DatagramRow::kInfo) && question.info.ttl == 64);
  CHECK(question.localAddress == DatagramRow::Words{0, 0, 0xffff, 0x7f000009});
  question.offset = 0;
  question.size = 1;
  CHECK(sendDatagrams(link.receiver.get(),
                      {.bytes = bytesOf("!"), .rows = std::span(&question, 1), .fds = {}}) == 1);
  REQUIRE(in.receive(inet4.get()) == 1);
  CHECK(in.row(0).address[0] == 0x7f000009);
}

TEST("of ipv6, where it was sent to is told, and nobody answers from a group") {
  const Link link = linkOn("::", kWantLocal);
  Outbox out;
  out.add("?", *Address::inet("::1", link.address.port()));
  REQUIRE(out.send(link.sender.get()) == 1);
  Inbox in(1);
  REQUIRE(in.receive(link.receiver.get()) == 1);
  CHECK(in.row(0).localAddress == DatagramRow::Words{0, 0, 0, 1} && in.row(0).localScope == 1);

  DatagramRow answer = in.row(0);
  alignas(cmsghdr) std::array<std::byte, kFullControlSpace> control{};
  const auto wrote = [&]() -> in6_pktinfo {
    const auto used = writeControl(answer, {}, control);
    in6_pktinfo info{};
    CHECK(used && *used == CMSG_SPACE(sizeof info));
    std::memcpy(&info, CMSG_DATA(reinterpret_cast<cmsghdr*>(control.data())), sizeof info);
    return info;
  };
  const in6_pktinfo global = wrote();
  CHECK(IN6_IS_ADDR_LOOPBACK(&global.ipi6_addr) && global.ipi6_ifindex == 0);
  answer.localScope = 7;
  answer.localAddress = {static_cast<int>(0xfe800000), 0, 0, 1};
  const in6_pktinfo linkLocal = wrote();
  CHECK(IN6_IS_ADDR_LINKLOCAL(&linkLocal.ipi6_addr) && linkLocal.ipi6_ifindex == 7);
  answer.localAddress = {static_cast<int>(0xff020000), 0, 0, 1};
  const in6_pktinfo group = wrote();
  CHECK(IN6_IS_ADDR_UNSPECIFIED(&group.ipi6_addr) && group.ipi6_ifindex == 7);
}

#if defined(__linux__)
TEST("one send is cut into datagrams, and what the kernel joined is one row") {
  const Link link = linkOn("127.0.0.1", kWantGro);
  const Link plain = linkOn("127.0.0.1", 0);
  const std::string data = std::string(1000, 'a') + std::string(1000, 'b') + std::string(10, 'c');
  Outbox out;
  out.add(data, link.address).segment = 1000;
  out.add(data, plain.address).segment = 1000;
  REQUIRE(out.send(link.sender.get()) == 2);
  Inbox joined(4, false, 65'536);
  REQUIRE(joined.receive(link.receiver.get()) == 1);
  CHECK(joined.text(0) == data && joined.row(0).segment == 1000);
  Inbox cut(4);
  REQUIRE(cut.receive(plain.receiver.get()) == 3);
  CHECK(cut.text(1) == std::string(1000, 'b') && cut.text(2) == std::string(10, 'c'));
  CHECK(cut.row(0).segment == 0 && cut.keptItsWalls() && joined.keptItsWalls());

  Outbox single;
  single.add("short", link.address);
  REQUIRE(single.send(link.sender.get()) == 1);
  REQUIRE(joined.receive(link.receiver.get()) == 1 && joined.row(0).segment == 0);
}
#endif

TEST("who sent it is told of unix datagrams that ask, and a socket has no more than its kind") {
  const auto pair = pairOf(DatagramKind::local);
  REQUIRE(wantControl(pair[1].get(), kWantCredentials));
  Outbox out;
  out.add("me");
  REQUIRE(out.send(pair[0].get()) == 1);
  Inbox in(1);
  REQUIRE(in.receive(pair[1].get()) == 1);
  CHECK(in.row(0).flags == DatagramRow::kCredentials && in.row(0).sender.pid == ::getpid());
  for (const unsigned int wanted : {kWantLocal, kWantInfo, kWantGro})
    CHECK(wantControl(pair[0].get(), wanted).error().code == ENOTSUP);
  const Link link = linkOn("127.0.0.1", 0);
  CHECK(wantControl(link.receiver.get(), kWantCredentials).error().code == ENOTSUP);
  CHECK(wantControl(link.receiver.get(), kWantLocal | 128).error().code == ENOTSUP);
  CHECK(wantControl(-1, kWantLocal).error().code == EBADF);
}

}  // namespace
}  // namespace ioloop
