#pragma once

#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "core/address.h"
#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * Stream sockets. Every descriptor that these make is non-blocking, close-on-exec and raises no
 * SIGPIPE. A call that a signal interrupted (EINTR) is made again.
 */

/**
 * An option that is set right after socket(2), where some have to be. When it is refused, the error
 * has `name` in place of a call's. Those of IPv6 are left out on sockets of IPv4.
 */
struct PresetOption {
  const char* name;
  int level;
  int number;
  std::span<const std::byte> value;
};

struct ListenOptions {
  /** Connections that wait to be accepted; the kernel clips it (net.core.somaxconn). */
  int backlog = 4096;
  /** Several sockets listen on one port and the kernel spreads the connections (socket(7)). */
  bool reusePort = false;
  /** "::" takes IPv6 only. Set either way, since the default is the administrator's. */
  bool ipv6Only = false;
  /** Of a path, set before anybody can connect; nothing: what umask(2) makes of it. */
  std::optional<mode_t> mode{};
  std::span<const PresetOption> presets{};
};

/**
 * Binds and listens. A TCP port in TIME_WAIT is taken over (SO_REUSEADDR); a path is never
 * unlinked: one that exists is EADDRINUSE, whether somebody listens there or not.
 */
Result<UniqueFd> listenSocket(const Address& address, const ListenOptions& options = {}) noexcept;

/** The next connection that waits. EAGAIN: none; ECONNABORTED: it left, there may be another. */
Result<UniqueFd> acceptSocket(int listener) noexcept;

/** Who was accepted, in numbers; the words that src/native-streams.ts names. */
struct Peer {
  std::int32_t family = 0;  // 4, 6; 0: a Unix socket
  std::int32_t port = 0;
  std::int32_t scope = 0;  // the interface of a link-local address
  /** Four bytes each, the first of them in the highest bits; IPv4 has all in the first. */
  std::array<std::int32_t, 4> words{};
};
/** As acceptSocket(listener), and who it is. */
Result<UniqueFd> acceptSocket(int listener, Peer& peer) noexcept;

/**
 * Begins to connect. The socket is writable when it is decided; socketError() then tells how. What
 * is refused at once is the error here: a Unix socket that nobody listens on, no route, no port.
 */
Result<UniqueFd> connectSocket(const Address& address,
                               std::span<const PresetOption> presets = {}) noexcept;
/**
 * The same from `local`. At port 0 the kernel chooses one for the whole four-tuple when it connects
 * (IP_BIND_ADDRESS_NO_PORT, ip(7)): bind(2) alone would need one that nobody uses.
 */
Result<UniqueFd> connectSocket(const Address& address, const Address& local,
                               std::span<const PresetOption> presets = {}) noexcept;

/** Has send(2) answer EPIPE without a signal, where no flag of each call can (SO_NOSIGPIPE). */
Status muteSigpipe(int fd) noexcept;
/** Makes somebody else's descriptor as ours are: non-blocking, close-on-exec, no SIGPIPE. */
Status makeFit(int fd) noexcept;
#if defined(MSG_NOSIGNAL)
inline constexpr int kNoSignal = MSG_NOSIGNAL;
#else
inline constexpr int kNoSignal = 0;  // macOS: muteSigpipe()
#endif

/** Makes what somebody else connected fit for streams. ENOTSOCK; EINVAL: of another type; ENOTCONN.
 */
Status adoptSocket(int fd) noexcept;
/** The same of a listener. ENOTSOCK; EINVAL: of another type, or not listening. */
Status adoptListener(int fd) noexcept;
/** The same of a listener whose connections keep the borders of messages. */
Status adoptSeqpacketListener(int fd) noexcept;

/** Has close(2) reset the connection and drop what is queued: SO_LINGER at 0, socket(7). */
Status resetOnClose(int fd) noexcept;

/** Where the socket is bound. */
Result<Address> localAddress(int fd) noexcept;
/** Whether the socket is one of the Internet. */
bool isInet(int fd) noexcept;
/** Whom the socket is connected to. ENOTCONN: nobody, or no longer. */
Result<Address> peerAddress(int fd) noexcept;

/** Takes the error that waits on the socket (SO_ERROR): success when there is none. */
Status socketError(int fd) noexcept;

/** Bytes received into `target`, 0 at the end of the stream or for no room, or -errno. */
ssize_t recvSome(int fd, std::span<std::byte> target) noexcept;
/** Bytes of `source` that the kernel took, or -errno. EPIPE is an answer, never a signal. */
ssize_t sendSome(int fd, std::span<const std::byte> source) noexcept;

/** sendmsg(2): bytes that the kernel took, from the first part on, or -errno. */
ssize_t sendSome(int fd, std::span<const iovec> parts) noexcept;
/** sendfile(2) from `offset`: bytes that the kernel took, 0 at the end of the file, or -errno. */
ssize_t sendFileSome(int fd, int file, off_t offset, std::size_t count) noexcept;

/** Bytes that wait to be read, or -errno. */
ssize_t unreadBytes(int fd) noexcept;
/** Bytes written that the peer has not acknowledged, or -errno. */
ssize_t unsentBytes(int fd) noexcept;

// What asks for them by ioctl(2): tcp(7). macOS answers the second by SO_NWRITE instead.
inline constexpr unsigned long kUnreadRequest = FIONREAD;
#if defined(FIONWRITE)
inline constexpr unsigned long kUnsentRequest = FIONWRITE;
#else
inline constexpr unsigned long kUnsentRequest = TIOCOUTQ;  // SIOCOUTQ by its other name
#endif

/** Ends our half: the peer reads the end of the stream, and we go on reading. */
Status shutdownWrite(int fd) noexcept;

}  // namespace ioloop
