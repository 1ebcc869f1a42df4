#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstddef>
#include <span>

#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * Descriptors that travel with a message over a Unix socket: SCM_RIGHTS of unix(7), cmsg(3).
 *
 * The receiver gets duplicates. They are its own from the moment recvmsg(2) returns, wanted or not,
 * so every control message that is received goes through takeRights(), or a hostile peer fills the
 * descriptor table.
 */

/** Most descriptors of one message: SCM_MAX_FD of unix(7). */
inline constexpr std::size_t kMaxPassedFds = 253;

/** The control space that so many take; it must be aligned as a cmsghdr is. */
inline constexpr std::size_t kPassedFdsSpace = CMSG_SPACE(kMaxPassedFds * sizeof(int));

// Where a system lacks the flag, takeRights() sets close-on-exec right after, and a fork in another
// thread between the two calls can inherit the descriptor.
#if defined(MSG_CMSG_CLOEXEC)
inline constexpr int kReceiveCloseOnExec = MSG_CMSG_CLOEXEC;
#else
inline constexpr int kReceiveCloseOnExec = 0;
#endif

/**
 * Writes the control message for `fds` to the start of `control`; they stay the caller's. Returns
 * the bytes of it, padding included; 0 when there are no descriptors, or more than fit.
 */
std::size_t putRights(std::span<std::byte> control, std::span<const int> fds) noexcept;

/**
 * Moves the descriptors of one control message to the start of `target` and returns how many went
 * there: 0 for a message of another kind. Those that do not fit are closed, never leaked.
 */
std::size_t takeRights(const cmsghdr& message, std::span<int> target) noexcept;

/** What came along with bytes. */
struct PassedFds {
  std::size_t count = 0;
  /** Not all could be received: the descriptor table is full (MSG_CTRUNC). */
  bool truncated = false;
};

/** As sendSome(), with descriptors on the first byte: once one byte was taken they have left. */
ssize_t sendWithFds(int fd, std::span<const std::byte> source, std::span<const int> fds) noexcept;
/**
 * As recvSome(), and the descriptors that came along, to the start of `fds`; those it has no room
 * for are closed. One call receives those of one message at most, since its bytes end there.
 */
ssize_t recvWithFds(int fd, std::span<std::byte> target, std::span<int> fds,
                    PassedFds& passed) noexcept;

/** A duplicate of `fd`, close-on-exec. EBADF, EMFILE. */
Result<UniqueFd> duplicateFd(int fd) noexcept;

}  // namespace ioloop
