// What a datagram socket, and the kernel under it, tell of themselves: datagram_socket.h.

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <optional>

#include "core/control_messages.h"
#include "core/datagram_name.h"
#include "core/datagram_socket.h"
#include "core/socket.h"
#include "core/sys.h"
#include "core/uninterrupted.h"

#if defined(__linux__)
#include <linux/errqueue.h>
#include <linux/sock_diag.h>
#elif defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/ucred.h>
#endif

namespace ioloop {
namespace {

#if defined(__linux__)

/** ICMP's answer in an entry of the error queue: an errno, 0 for what is none. */
int icmpError(msghdr& message) noexcept {
  int code = 0;
  forEachControl(message, [&](const cmsghdr& each) {
    const bool inet4 = each.cmsg_level == IPPROTO_IP && each.cmsg_type == IP_RECVERR;
    const bool inet6 = each.cmsg_level == IPPROTO_IPV6 && each.cmsg_type == IPV6_RECVERR;
    if (!inet4 && !inet6) return;
    sock_extended_err error{};
    std::memcpy(&error, CMSG_DATA(&each), sizeof error);
    if (error.ee_origin == SO_EE_ORIGIN_ICMP || error.ee_origin == SO_EE_ORIGIN_ICMP6)
      code = static_cast<int>(error.ee_errno);
  });
  return code;
}

/** Takes entries of the error queue until one is ICMP's; false: there is none. */
bool takeIcmpError(int fd, DatagramRow& row) noexcept {
  // In the Unix domain there is no such queue, and MSG_ERRQUEUE receives a message.
  if (!isInet(fd)) return false;
  for (;;) {
    DatagramName name;
    alignas(cmsghdr) std::array<std::byte, 512> control;
    msghdr message{};
    message.msg_name = &name;
    message.msg_namelen = sizeof name;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    if (uninterrupted([&] { return sys().recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT); }) < 0)
      return false;
    row.size = icmpError(message);
    if (row.size == 0) continue;
    readName(name, message.msg_namelen, row, {});
    return true;
  }
}

#else

bool takeIcmpError(int, DatagramRow&) noexcept { return false; }

#endif

[[maybe_unused]] bool takesOption(int fd, int level, int name, int value) noexcept {
  return sys().setsockopt(fd, level, name, &value, sizeof value) == 0;
}

std::optional<std::uint32_t> readDrops([[maybe_unused]] int fd) noexcept {
#if defined(SO_MEMINFO)
  std::array<std::uint32_t, SK_MEMINFO_VARS> counts{};
  socklen_t size = sizeof counts;
  if (sys().getsockopt(fd, SOL_SOCKET, SO_MEMINFO, counts.data(), &size) == 0)
    return counts[SK_MEMINFO_DROPS];
#endif
  return std::nullopt;
}

bool hasBatches(int fd) noexcept {
  mmsghdr message{};
  return sys().recvmmsg(fd, &message, 1, MSG_DONTWAIT) >= 0 || errno != ENOSYS;
}

}  // namespace

ssize_t receiveError(int fd, DatagramRow& row) noexcept {
  row = {};
  if (takeIcmpError(fd, row)) return 1;
  int code = 0;
  socklen_t size = sizeof code;
  if (sys().getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0) return -errno;
  row.size = code;
  return code == 0 ? 0 : 1;
}

std::uint32_t droppedByKernel(int fd) noexcept { return readDrops(fd).value_or(0); }

#if defined(__linux__)
Result<PeerCredentials> peerCredentials(int fd) noexcept {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (sys().getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
    return lastError("getsockopt");
  constexpr auto kNobody = static_cast<uid_t>(-1);
  if (peer.pid == 0 && peer.uid == kNobody) return SysError{ENOTCONN, "getsockopt"};
  return PeerCredentials{peer.pid, peer.uid, peer.gid};
}
#elif defined(__APPLE__) || defined(__FreeBSD__)
Result<PeerCredentials> peerCredentials(int fd) noexcept {
  constexpr int kLocalLevel = 0;  // SOL_LOCAL: unix(4)
  xucred peer{};
  socklen_t size = sizeof peer;
  if (sys().getsockopt(fd, kLocalLevel, LOCAL_PEERCRED, &peer, &size) < 0)
    return lastError("getsockopt");
  PeerCredentials result{-1, peer.cr_uid, peer.cr_groups[0]};
#if defined(LOCAL_PEERPID)
  pid_t pid = 0;
  size = sizeof pid;
  if (sys().getsockopt(fd, kLocalLevel, LOCAL_PEERPID, &pid, &size) == 0) result.pid = pid;
#endif
  return result;
}
#else
Result<PeerCredentials> peerCredentials(int) noexcept { return SysError{ENOTSUP, "getsockopt"}; }
#endif

Result<DatagramCapabilities> datagramCapabilities() noexcept {
  const auto udp = openDatagram(DatagramKind::udp4);
  if (!udp) return udp.error();
  const auto local = openDatagram(DatagramKind::local);
  if (!local) return local.error();
  DatagramCapabilities result{};
  result.batches = hasBatches(udp->get());
  result.dropCounts = readDrops(udp->get()).has_value();
#if defined(UDP_SEGMENT)
  result.udpSegment = takesOption(udp->get(), IPPROTO_UDP, UDP_SEGMENT, 1000);
#endif
#if defined(UDP_GRO)
  result.udpGro = takesOption(udp->get(), IPPROTO_UDP, UDP_GRO, 1);
#endif
#if defined(SO_PASSCRED)
  result.credentials = takesOption(local->get(), SOL_SOCKET, SO_PASSCRED, 1);
#endif
#if defined(__linux__)
  // No path and no NUL: the kernel chooses an abstract name (unix(7), Autobind feature).
  sockaddr_un unnamed{};
  unnamed.sun_family = AF_UNIX;
  result.abstractNames = sys().bind(local->get(), reinterpret_cast<const sockaddr*>(&unnamed),
                                    sizeof unnamed.sun_family) == 0;
#endif
  result.seqpacket = openDatagram(DatagramKind::seqpacket).has_value();
  return result;
}

}  // namespace ioloop
