#pragma once

#include <atomic>

#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * Wakes a loop from any thread, and from a signal handler: a descriptor to watch for read.
 *
 * Many wakes before a drain are one: a flag that is already up costs no system call, and a full
 * pipe is a wake-up already on its way. Foreign code may wake too, by writing the eight-byte
 * integer 1 to writeFd().
 */
class Waker {
 public:
  enum class Kind { eventfd, pipe };

  /** An eventfd where the system has one, else a pipe. */
  static Result<Waker> create() noexcept;
  static Result<Waker> create(Kind kind) noexcept;

  Waker(Waker&& other) noexcept;
  Waker& operator=(Waker&&) = delete;

  /** Readable after a wake. Watch it for read (Tornado's first watched it for write: a bug). */
  int fd() const noexcept { return readEnd_.get(); }
  /** Where foreign code writes; fd() itself where that is an eventfd. */
  int writeFd() const noexcept { return writeEnd_ ? writeEnd_.get() : readEnd_.get(); }

  /** Never blocks, never fails; keeps errno as it was. Safe from any thread and signal handler. */
  void wake() noexcept;

  /** Takes what wakes left behind. After it the next wake is a new one. The loop's thread only. */
  void drain() noexcept;

 private:
  Waker(UniqueFd readEnd, UniqueFd writeEnd) noexcept;

  UniqueFd readEnd_;
  UniqueFd writeEnd_;  // none: the read end takes writes too
  std::atomic<bool> awake_{false};
};

}  // namespace ioloop
