#if defined(__APPLE__)
#define __APPLE_USE_RFC_3542  // IPV6_RECVPKTINFO and its kin: ip6(4)
#endif

#include "core/datagram_socket.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include <cerrno>
#include <span>
#include <string>

#include "core/datagram_name.h"
#include "core/socket.h"
#include "core/sys.h"
#include "core/uninterrupted.h"

namespace ioloop {
namespace {

using Kind = DatagramKind;

/** An option that a kind of socket has. */
struct KindOption {
  Kind kind;
  int level;
  int name;
  int value;
};

// A socket of both stacks hears of both: of IPv4 by the options of IPv4.
#if defined(__linux__)
constexpr auto kFromBirth = std::to_array<KindOption>({
    {Kind::udp4, IPPROTO_IP, IP_RECVERR, 1},
    {Kind::udp4, SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
    {Kind::udp4, IPPROTO_IP, IP_MULTICAST_ALL, 0},
    {Kind::udp6, IPPROTO_IP, IP_RECVERR, 1},
    {Kind::udp6, SOL_SOCKET, SO_SELECT_ERR_QUEUE, 1},
    {Kind::udp6, IPPROTO_IP, IP_MULTICAST_ALL, 0},
    {Kind::udp6, IPPROTO_IPV6, IPV6_RECVERR, 1},
    {Kind::udp6, IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0},
    {Kind::seqpacket, SOL_SOCKET, SO_PASSCRED, 1},
});
#else
constexpr std::array<KindOption, 0> kFromBirth;
#endif

struct ControlOption {
  WantedControl wanted;
  Kind kind;
  int level;
  int name;
};

constexpr ControlOption kControl[] = {
    {kWantLocal, Kind::udp6, IPPROTO_IPV6, IPV6_RECVPKTINFO},
    {kWantInfo, Kind::udp6, IPPROTO_IPV6, IPV6_RECVTCLASS},
    {kWantInfo, Kind::udp6, IPPROTO_IPV6, IPV6_RECVHOPLIMIT},
    {kWantInfo, Kind::udp4, IPPROTO_IP, IP_RECVTOS},
    {kWantInfo, Kind::udp4, IPPROTO_IP, IP_RECVTTL},
#if defined(IP_PKTINFO)
    {kWantLocal, Kind::udp4, IPPROTO_IP, IP_PKTINFO},
#elif defined(IP_RECVDSTADDR)
    {kWantLocal, Kind::udp4, IPPROTO_IP, IP_RECVDSTADDR},
#endif
#if defined(__linux__)
    {kWantLocal, Kind::udp6, IPPROTO_IP, IP_PKTINFO},
    {kWantInfo, Kind::udp6, IPPROTO_IP, IP_RECVTOS},
    {kWantInfo, Kind::udp6, IPPROTO_IP, IP_RECVTTL},
    {kWantInfo, Kind::udp4, SOL_SOCKET, SO_TIMESTAMPNS},
    {kWantInfo, Kind::udp6, SOL_SOCKET, SO_TIMESTAMPNS},
    {kWantCredentials, Kind::local, SOL_SOCKET, SO_PASSCRED},
    {kWantCredentials, Kind::seqpacket, SOL_SOCKET, SO_PASSCRED},
#else
    {kWantInfo, Kind::udp4, SOL_SOCKET, SO_TIMESTAMP},
    {kWantInfo, Kind::udp6, SOL_SOCKET, SO_TIMESTAMP},
#endif
#if defined(UDP_GRO)
    {kWantGro, Kind::udp4, IPPROTO_UDP, UDP_GRO},
    {kWantGro, Kind::udp6, IPPROTO_UDP, UDP_GRO},
#endif
};

int domainOf(Kind kind) noexcept {
  switch (kind) {
    case Kind::udp4:
      return AF_INET;
    case Kind::udp6:
      return AF_INET6;
    default:
      return AF_UNIX;
  }
}

int typeOf(Kind kind) noexcept { return kind == Kind::seqpacket ? SOCK_SEQPACKET : SOCK_DGRAM; }

Status setNumber(int fd, int level, int name, int value) noexcept {
  if (sys().setsockopt(fd, level, name, &value, sizeof value) < 0) return lastError("setsockopt");
  return {};
}

Result<int> readNumber(int fd, int name) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  if (sys().getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0) return lastError("getsockopt");
  return value;
}

/** The path that bind(2) makes for `address`; "" when it makes none. */
std::string fileOf(const Address& address) noexcept {
  std::string path(address.path());
  if (path.starts_with('\0')) path.clear();
  return path;
}

/** Kernels that are older than an option do without it. */
Status setFromBirth(int fd, Kind kind) noexcept {
  for (const KindOption& option : kFromBirth) {
    if (option.kind != kind) continue;
    const Status set = setNumber(fd, option.level, option.name, option.value);
    if (!set && set.error().code != ENOPROTOOPT) return set;
  }
  return {};
}

/** EINVAL: it is of another type. */
Result<Kind> kindOf(int fd) noexcept {
  const auto type = readNumber(fd, SO_TYPE);
  if (!type) return type.error();
  const auto local = localAddress(fd);
  if (!local) return local.error();
  const bool inUnixDomain = local->family() == Address::Family::local;
  if (*type == SOCK_SEQPACKET && inUnixDomain) return Kind::seqpacket;
  if (*type != SOCK_DGRAM) return SysError{EINVAL, "getsockopt"};
  if (inUnixDomain) return Kind::local;
  return local->family() == Address::Family::inet6 ? Kind::udp6 : Kind::udp4;
}

}  // namespace

Result<UniqueFd> openDatagram(DatagramKind kind) noexcept {
  UniqueFd fd(sys().socket(domainOf(kind), typeOf(kind), 0));
  if (!fd) return lastError("socket");
  Status done = muteSigpipe(fd.get());
  if (done) done = setFromBirth(fd.get(), kind);
  if (!done) return done.error();
  return fd;
}

Result<std::array<UniqueFd, 2>> openDatagramPair(DatagramKind kind) noexcept {
  std::array<int, 2> fds{-1, -1};
  if (sys().socketpair(domainOf(kind), typeOf(kind), 0, fds.data()) < 0)
    return lastError("socketpair");
  std::array pair{UniqueFd(fds[0]), UniqueFd(fds[1])};
  for (const UniqueFd& fd : pair) {
    Status done = muteSigpipe(fd.get());
    if (done) done = setFromBirth(fd.get(), kind);
    if (!done) return done.error();
  }
  return pair;
}

Status bindDatagram(int fd, const Address& address, std::optional<mode_t> mode) noexcept {
  const std::string path = fileOf(address);
  const bool hasMode = mode && !path.empty();
  // The path is made with this mode less what umask(2) takes away: at no time with more than asked.
  if (hasMode && sys().fchmod(fd, *mode) < 0 && errno != EINVAL) return lastError("fchmod");
  if (sys().bind(fd, address.data(), address.size()) < 0) return lastError("bind");
  if (!hasMode || sys().chmod(path.c_str(), *mode) == 0) return {};
  const SysError refused = lastError("chmod");
  sys().unlink(path.c_str());
  return refused;
}

Status connectDatagram(int fd, const Address& address) noexcept {
  if (uninterrupted([&] { return sys().connect(fd, address.data(), address.size()); }) < 0)
    return lastError("connect");
  return {};
}

Status disconnectDatagram(int fd) noexcept {
  const auto before = localAddress(fd);
  if (!before) return before.error();
  sockaddr nobody{};
  nobody.sa_family = AF_UNSPEC;
  // The BSDs dissolve the association and call the family wrong all the same (connect(2)).
  if (sys().connect(fd, &nobody, sizeof nobody) < 0 && errno != EAFNOSUPPORT)
    return lastError("connect");
  const auto after = localAddress(fd);
  if (!after || after->port() == before->port()) return {};
  // Linux takes back a port that it has chosen itself.
  const auto again = Address::inet(after->host(), before->port());
  return again ? bindDatagram(fd, *again, {}) : again.error();
}

Result<UniqueFd> listenSeqpacket(const Address& address, int backlog,
                                 std::optional<mode_t> mode) noexcept {
  auto made = openDatagram(DatagramKind::seqpacket);
  if (!made) return made;
  if (const Status bound = bindDatagram(made->get(), address, mode); !bound) return bound.error();
  if (sys().listen(made->get(), backlog) == 0) return made;
  const SysError refused = lastError("listen");
  if (const std::string path = fileOf(address); !path.empty()) sys().unlink(path.c_str());
  return refused;
}

Result<DatagramKind> adoptDatagram(int fd) noexcept {
  const auto kind = kindOf(fd);
  if (!kind) return kind;
  if (*kind == Kind::seqpacket) {
    const auto listening = readNumber(fd, SO_ACCEPTCONN);
    if (!listening) return listening.error();
    if (*listening != 0) return SysError{EINVAL, "getsockopt"};
  }
  Status done = makeFit(fd);
  if (done) done = setFromBirth(fd, *kind);
  if (!done) return done.error();
  return kind;
}

Status wantControl(int fd, unsigned int wanted) noexcept {
  const auto kind = kindOf(fd);
  if (!kind) return kind.error();
  unsigned int had = 0;
  for (const ControlOption& option : kControl) {
    if ((option.wanted & wanted) == 0 || option.kind != *kind) continue;
    if (const Status set = setNumber(fd, option.level, option.name, 1); !set) return set;
    had |= option.wanted;
  }
  if (had != wanted) return SysError{ENOTSUP, "setsockopt"};
  return {};
}

}  // namespace ioloop
