#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "core/address.h"
#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * Stream sockets. Every descriptor that these make is non-blocking, close-on-exec and raises no
 * SIGPIPE. A call that a signal interrupted (EINTR) is made again.
 */
struct ListenOptions {
  /** Connections that wait to be accepted; the kernel clips it (net.core.somaxconn). */
  int backlog = 4096;
  /** Several sockets listen on one port and the kernel spreads the connections (socket(7)). */
  bool reusePort = false;
  /** "::" takes IPv6 only. Set either way, since the default is the administrator's. */
  bool ipv6Only = false;
};

/**
 * Binds and listens. A TCP port in TIME_WAIT is taken over (SO_REUSEADDR); a path is never
 * unlinked: one that exists is EADDRINUSE, whether somebody listens there or not.
 */
Result<UniqueFd> listenSocket(const Address& address, const ListenOptions& options = {}) noexcept;

/** The next connection that waits. EAGAIN: none; ECONNABORTED: it left, there may be another. */
Result<UniqueFd> acceptSocket(int listener) noexcept;

/**
 * Begins to connect. The socket is writable when it is decided; socketError() then tells how. What
 * is refused at once is the error here: a Unix socket that nobody listens on, no route, no port.
 */
Result<UniqueFd> connectSocket(const Address& address) noexcept;

/** Where the socket is bound. */
Result<Address> localAddress(int fd) noexcept;
/** Whom the socket is connected to. ENOTCONN: nobody, or no longer. */
Result<Address> peerAddress(int fd) noexcept;

/** Takes the error that waits on the socket (SO_ERROR): success when there is none. */
Status socketError(int fd) noexcept;

/** Bytes received into `target`, 0 at the end of the stream or for no room, or -errno. */
ssize_t recvSome(int fd, std::span<std::byte> target) noexcept;
/** Bytes of `source` that the kernel took, or -errno. EPIPE is an answer, never a signal. */
ssize_t sendSome(int fd, std::span<const std::byte> source) noexcept;

/** Ends our half: the peer reads the end of the stream, and we go on reading. */
Status shutdownWrite(int fd) noexcept;

}  // namespace ioloop
