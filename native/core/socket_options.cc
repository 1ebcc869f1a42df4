#include "core/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>

#include <algorithm>

#include "core/sys.h"

namespace ioloop {
namespace {

constexpr auto kInteger = SocketOption::Kind::integer;
constexpr auto kLinger = SocketOption::Kind::linger;
constexpr auto kString = SocketOption::Kind::string;

// socket(7), tcp(7), ip(7), ipv6(7). What only some systems have is asked for.
constexpr SocketOption kOptions[] = {
    {"SO_BROADCAST", SOL_SOCKET, SO_BROADCAST, kInteger},
    {"SO_DONTROUTE", SOL_SOCKET, SO_DONTROUTE, kInteger},
    {"SO_KEEPALIVE", SOL_SOCKET, SO_KEEPALIVE, kInteger},
    {"SO_LINGER", SOL_SOCKET, SO_LINGER, kLinger},
    {"SO_OOBINLINE", SOL_SOCKET, SO_OOBINLINE, kInteger},
    {"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, kInteger},
    {"SO_RCVLOWAT", SOL_SOCKET, SO_RCVLOWAT, kInteger},
    {"SO_REUSEADDR", SOL_SOCKET, SO_REUSEADDR, kInteger},
    {"SO_REUSEPORT", SOL_SOCKET, SO_REUSEPORT, kInteger},
    {"SO_SNDBUF", SOL_SOCKET, SO_SNDBUF, kInteger},
    {"SO_SNDLOWAT", SOL_SOCKET, SO_SNDLOWAT, kInteger},
    {"TCP_KEEPCNT", IPPROTO_TCP, TCP_KEEPCNT, kInteger},
    {"TCP_KEEPINTVL", IPPROTO_TCP, TCP_KEEPINTVL, kInteger},
    {"TCP_MAXSEG", IPPROTO_TCP, TCP_MAXSEG, kInteger},
    {"TCP_NODELAY", IPPROTO_TCP, TCP_NODELAY, kInteger},
    {"IP_MULTICAST_LOOP", IPPROTO_IP, IP_MULTICAST_LOOP, kInteger},
    {"IP_MULTICAST_TTL", IPPROTO_IP, IP_MULTICAST_TTL, kInteger},
    {"IP_TOS", IPPROTO_IP, IP_TOS, kInteger},
    {"IP_TTL", IPPROTO_IP, IP_TTL, kInteger},
    {"IPV6_MULTICAST_HOPS", IPPROTO_IPV6, IPV6_MULTICAST_HOPS, kInteger},
    {"IPV6_MULTICAST_LOOP", IPPROTO_IPV6, IPV6_MULTICAST_LOOP, kInteger},
    {"IPV6_TCLASS", IPPROTO_IPV6, IPV6_TCLASS, kInteger},
    {"IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, kInteger},
    {"IPV6_V6ONLY", IPPROTO_IPV6, IPV6_V6ONLY, kInteger},
#if defined(SO_BUSY_POLL)
    {"SO_BUSY_POLL", SOL_SOCKET, SO_BUSY_POLL, kInteger},
#endif
#if defined(SO_INCOMING_CPU)
    {"SO_INCOMING_CPU", SOL_SOCKET, SO_INCOMING_CPU, kInteger},
#endif
#if defined(SO_MARK)
    {"SO_MARK", SOL_SOCKET, SO_MARK, kInteger},
#endif
#if defined(SO_PASSCRED)
    {"SO_PASSCRED", SOL_SOCKET, SO_PASSCRED, kInteger},
#endif
#if defined(SO_PREFER_BUSY_POLL)
    {"SO_PREFER_BUSY_POLL", SOL_SOCKET, SO_PREFER_BUSY_POLL, kInteger},
#endif
#if defined(SO_PRIORITY)
    {"SO_PRIORITY", SOL_SOCKET, SO_PRIORITY, kInteger},
#endif
#if defined(SO_RCVBUFFORCE)
    {"SO_RCVBUFFORCE", SOL_SOCKET, SO_RCVBUFFORCE, kInteger},
#endif
#if defined(SO_RXQ_OVFL)
    {"SO_RXQ_OVFL", SOL_SOCKET, SO_RXQ_OVFL, kInteger},
#endif
#if defined(SO_SNDBUFFORCE)
    {"SO_SNDBUFFORCE", SOL_SOCKET, SO_SNDBUFFORCE, kInteger},
#endif
#if defined(SO_TIMESTAMPNS)
    {"SO_TIMESTAMPNS", SOL_SOCKET, SO_TIMESTAMPNS, kInteger},
#endif
#if defined(SO_ZEROCOPY)
    {"SO_ZEROCOPY", SOL_SOCKET, SO_ZEROCOPY, kInteger},
#endif
#if defined(SO_BINDTODEVICE)
    {"SO_BINDTODEVICE", SOL_SOCKET, SO_BINDTODEVICE, kString},
#endif
#if defined(TCP_CONGESTION)
    {"TCP_CONGESTION", IPPROTO_TCP, TCP_CONGESTION, kString},
#endif
#if defined(TCP_CORK)
    {"TCP_CORK", IPPROTO_TCP, TCP_CORK, kInteger},
#elif defined(TCP_NOPUSH)
    {"TCP_CORK", IPPROTO_TCP, TCP_NOPUSH, kInteger},
#endif
#if defined(TCP_DEFER_ACCEPT)
    {"TCP_DEFER_ACCEPT", IPPROTO_TCP, TCP_DEFER_ACCEPT, kInteger},
#endif
#if defined(TCP_FASTOPEN)
    {"TCP_FASTOPEN", IPPROTO_TCP, TCP_FASTOPEN, kInteger},
#endif
#if defined(TCP_FASTOPEN_CONNECT)
    {"TCP_FASTOPEN_CONNECT", IPPROTO_TCP, TCP_FASTOPEN_CONNECT, kInteger},
#endif
#if defined(TCP_KEEPIDLE)
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPIDLE, kInteger},
#elif defined(TCP_KEEPALIVE)
    {"TCP_KEEPIDLE", IPPROTO_TCP, TCP_KEEPALIVE, kInteger},
#endif
#if defined(TCP_LINGER2)
    {"TCP_LINGER2", IPPROTO_TCP, TCP_LINGER2, kInteger},
#endif
#if defined(TCP_NOPUSH)
    {"TCP_NOPUSH", IPPROTO_TCP, TCP_NOPUSH, kInteger},
#elif defined(TCP_CORK)
    {"TCP_NOPUSH", IPPROTO_TCP, TCP_CORK, kInteger},
#endif
#if defined(TCP_NOTSENT_LOWAT)
    {"TCP_NOTSENT_LOWAT", IPPROTO_TCP, TCP_NOTSENT_LOWAT, kInteger},
#endif
#if defined(TCP_QUICKACK)
    {"TCP_QUICKACK", IPPROTO_TCP, TCP_QUICKACK, kInteger},
#endif
#if defined(TCP_SYNCNT)
    {"TCP_SYNCNT", IPPROTO_TCP, TCP_SYNCNT, kInteger},
#endif
#if defined(TCP_USER_TIMEOUT)
    {"TCP_USER_TIMEOUT", IPPROTO_TCP, TCP_USER_TIMEOUT, kInteger},
#endif
#if defined(TCP_WINDOW_CLAMP)
    {"TCP_WINDOW_CLAMP", IPPROTO_TCP, TCP_WINDOW_CLAMP, kInteger},
#endif
#if defined(IP_BIND_ADDRESS_NO_PORT)
    {"IP_BIND_ADDRESS_NO_PORT", IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, kInteger},
#endif
#if defined(IP_FREEBIND)
    {"IP_FREEBIND", IPPROTO_IP, IP_FREEBIND, kInteger},
#endif
#if defined(IP_MTU)
    {"IP_MTU", IPPROTO_IP, IP_MTU, kInteger},
#endif
#if defined(IP_MTU_DISCOVER)
    {"IP_MTU_DISCOVER", IPPROTO_IP, IP_MTU_DISCOVER, kInteger},
#endif
#if defined(IP_MULTICAST_ALL)
    {"IP_MULTICAST_ALL", IPPROTO_IP, IP_MULTICAST_ALL, kInteger},
#endif
#if defined(IP_PKTINFO)
    {"IP_PKTINFO", IPPROTO_IP, IP_PKTINFO, kInteger},
#endif
#if defined(IP_RECVERR)
    {"IP_RECVERR", IPPROTO_IP, IP_RECVERR, kInteger},
#endif
#if defined(IP_TRANSPARENT)
    {"IP_TRANSPARENT", IPPROTO_IP, IP_TRANSPARENT, kInteger},
#endif
#if defined(IPV6_DONTFRAG)
    {"IPV6_DONTFRAG", IPPROTO_IPV6, IPV6_DONTFRAG, kInteger},
#endif
#if defined(IPV6_MTU)
    {"IPV6_MTU", IPPROTO_IPV6, IPV6_MTU, kInteger},
#endif
#if defined(IPV6_MTU_DISCOVER)
    {"IPV6_MTU_DISCOVER", IPPROTO_IPV6, IPV6_MTU_DISCOVER, kInteger},
#endif
#if defined(IPV6_MULTICAST_ALL)
    {"IPV6_MULTICAST_ALL", IPPROTO_IPV6, IPV6_MULTICAST_ALL, kInteger},
#endif
#if defined(IPV6_RECVERR)
    {"IPV6_RECVERR", IPPROTO_IPV6, IPV6_RECVERR, kInteger},
#endif
#if defined(UDP_CORK)
    {"UDP_CORK", IPPROTO_UDP, UDP_CORK, kInteger},
#endif
#if defined(UDP_GRO)
    {"UDP_GRO", IPPROTO_UDP, UDP_GRO, kInteger},
#endif
#if defined(UDP_SEGMENT)
    {"UDP_SEGMENT", IPPROTO_UDP, UDP_SEGMENT, kInteger},
#endif
};

}  // namespace

const SocketOption* findSocketOption(std::string_view name) noexcept {
  const auto* const found = std::ranges::find(kOptions, name, &SocketOption::name);
  return found == std::end(kOptions) ? nullptr : found;
}

Status setSocketOption(int fd, int level, int number, std::span<const std::byte> value) noexcept {
  if (sys().setsockopt(fd, level, number, value.data(), static_cast<socklen_t>(value.size())) < 0)
    return lastError("setsockopt");
  return {};
}

Result<std::size_t> getSocketOption(int fd, int level, int number,
                                    std::span<std::byte> target) noexcept {
  auto size = static_cast<socklen_t>(target.size());
  if (sys().getsockopt(fd, level, number, target.data(), &size) < 0) return lastError("getsockopt");
  return std::size_t{size};
}

}  // namespace ioloop
