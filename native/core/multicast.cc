#include "core/multicast.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string>

#include "core/address.h"
#include "core/socket.h"
#include "core/sys.h"

namespace ioloop {
namespace {

bool sameHost(const sockaddr* address, const Address& wanted) noexcept {
  if (address == nullptr || address->sa_family != wanted.data()->sa_family) return false;
  if (wanted.family() == Address::Family::inet4) {
    return reinterpret_cast<const sockaddr_in*>(address)->sin_addr.s_addr ==
           reinterpret_cast<const sockaddr_in*>(wanted.data())->sin_addr.s_addr;
  }
  return std::memcmp(&reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr,
                     &reinterpret_cast<const sockaddr_in6*>(wanted.data())->sin6_addr,
                     sizeof(in6_addr)) == 0;
}

/** The interface that has `address`. */
Result<std::uint32_t> interfaceWith(const Address& address) noexcept {
  ifaddrs* list = nullptr;
  if (sys().getifaddrs(&list) < 0) return lastError("getifaddrs");
  const ifaddrs* found = list;
  while (found != nullptr && !sameHost(found->ifa_addr, address)) found = found->ifa_next;
  const std::uint32_t number = found == nullptr ? 0 : sys().ifNameToIndex(found->ifa_name);
  sys().freeifaddrs(list);
  if (number == 0) return SysError{EADDRNOTAVAIL, "getifaddrs"};
  return number;
}

template <typename Request>
Status change(int fd, int level, int option, const Request& request) noexcept {
  if (sys().setsockopt(fd, level, option, &request, sizeof request) < 0)
    return lastError("setsockopt");
  return {};
}

void copyTo(sockaddr_storage& target, const Address& address) noexcept {
  std::memcpy(&target, address.data(), address.size());
}

/** The scope of a literal that has one. */
std::uint32_t scopeOf(const Address& address) noexcept {
  if (address.family() != Address::Family::inet6) return 0;
  return reinterpret_cast<const sockaddr_in6*>(address.data())->sin6_scope_id;
}

Status changeMembership(int fd, const Membership& membership, int ofAll, int ofSource) noexcept {
  const auto group = Address::inet(membership.group, 0);
  if (!group) return group.error();
  auto interface = interfaceNumber(membership.interface);
  if (!interface) return interface.error();
  if (*interface == 0) interface = scopeOf(*group);
  const int level = group->family() == Address::Family::inet4 ? IPPROTO_IP : IPPROTO_IPV6;
  if (membership.source.empty()) {
    group_req request{};
    request.gr_interface = *interface;
    copyTo(request.gr_group, *group);
    return change(fd, level, ofAll, request);
  }
  const auto source = Address::inet(membership.source, 0);
  if (!source) return source.error();
  group_source_req request{};
  request.gsr_interface = *interface;
  copyTo(request.gsr_group, *group);
  copyTo(request.gsr_source, *source);
  return change(fd, level, ofSource, request);
}

}  // namespace

Result<std::uint32_t> interfaceNumber(std::string_view given) noexcept {
  std::uint32_t number = 0;
  if (given.empty()) return number;
  const char* const end = given.data() + given.size();
  const auto [stop, failure] = std::from_chars(given.data(), end, number);
  if (failure == std::errc{} && stop == end) return number;
  if (const auto address = Address::inet(given, 0)) return interfaceWith(*address);
  number = sys().ifNameToIndex(std::string(given).c_str());
  if (number == 0) return lastError("if_nametoindex");
  return number;
}

Status joinGroup(int fd, const Membership& membership) noexcept {
  return changeMembership(fd, membership, MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP);
}

Status leaveGroup(int fd, const Membership& membership) noexcept {
  return changeMembership(fd, membership, MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP);
}

Status setMulticastInterface(int fd, std::string_view given) noexcept {
  const auto number = interfaceNumber(given);
  if (!number) return number.error();
  const auto local = localAddress(fd);
  if (!local) return local.error();
  ip_mreqn request{};
  request.imr_ifindex = static_cast<decltype(request.imr_ifindex)>(*number);
  const Status inet4 = change(fd, IPPROTO_IP, IP_MULTICAST_IF, request);
  // Of both stacks or of IPv6 alone: what counts is IPv6.
  if (local->family() != Address::Family::inet6) return inet4;
  return change(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, *number);
}

}  // namespace ioloop
