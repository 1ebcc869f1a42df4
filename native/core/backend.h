#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "core/event.h"
#include "core/instant.h"
#include "core/result.h"

namespace ioloop {

/**
 * The seam between the loop and one of the kernel's pollers. All of it.
 *
 * Every backend keeps this contract, and native/test/backend_conformance_test.cc holds each to it:
 *
 *  1. Level-triggered. edge, oneShot, exclusive and priority are opt-in bits; a system without
 *     them answers ENOTSUP. A one-shot registration that fired stays known and silent until the
 *     next update.
 *  2. At most one Event per descriptor per wait.
 *  3. Readiness is a hint: an operation may still answer EAGAIN.
 *  4. Data before hang-up: end of file arrives as read, a failed connect as write and error.
 *  5. A wait that a signal interrupted (EINTR) returned no events; that is no failure.
 *  6. Timeouts are nanoseconds and round up, never down to zero.
 *  7. A failed update changes nothing. Adding what is watched is EEXIST, changing or removing what
 *     is not ENOENT. A number that was closed, reused and is added again is a new registration.
 *  8. What cannot be watched is refused by update: EPERM (a regular file on epoll), EINVAL (a
 *     number at or over FD_SETSIZE on select), EBADF.
 *  9. A watched descriptor found closed is reported once as error by poll and select, and is
 *     unknown after that; epoll and kqueue forget it silently. Never a failed wait.
 * 10. Every descriptor that a backend opens is close-on-exec.
 *
 * An event of a registration that the kernel still holds but `update` no longer knows (a duplicate
 * of a closed descriptor keeps it alive, epoll(7) Q&A 6) is returned with Event::kOrphan as its fd.
 *
 * One thread at a time. Errors are values; nothing throws.
 */
class Backend {
 public:
  virtual ~Backend() = default;

  /** The word that selects it: "epoll", "poll" ... */
  virtual std::string_view name() const noexcept = 0;

  /** Whether closing a descriptor is enough to have it watched no more (rule 9). */
  virtual bool forgetsClosed() const noexcept { return false; }

  /**
   * Changes what `fd` is watched for. `before` is what it is watched for now, none when it is to be
   * added; `after` none removes it.
   */
  virtual Status update(int fd, Ready before, Ready after) noexcept = 0;

  /** Fills `out` with what is ready, waiting for the first at most `timeout`. Returns how many. */
  virtual Result<std::size_t> wait(std::span<Event> out, Timeout timeout) noexcept = 0;

  /** Makes pollableFd() readable at `deadline`, never early; nothing disarms it. One at a time. */
  virtual Status arm(std::optional<Instant> deadline) noexcept = 0;

  /**
   * A descriptor that is readable when wait() would return something or the armed deadline has
   * come. A borrow: it lives as long as the backend and keeps its number.
   */
  virtual int pollableFd() const noexcept = 0;
};

/** Makes one backend; the error of the system call that refused it otherwise. */
using BackendFactory = Result<std::unique_ptr<Backend>> (*)() noexcept;

}  // namespace ioloop
