#pragma once

#include <sys/types.h>

#include <csignal>

namespace ioloop {

/**
 * Keeps SIGPIPE from this thread for as long as it lives: for calls that cannot be told to raise
 * none, as send(2) can (MSG_NOSIGNAL), in a process that does not ignore it.
 *
 * The signal of a failed write goes to the thread that wrote (signal(7)); so it is blocked there,
 * taken away when it came, and unblocked again. One that waited before is left. Nothing on macOS,
 * where descriptors are told once (F_SETNOSIGPIPE, SO_NOSIGPIPE).
 */
class SigpipeBlock {
 public:
  SigpipeBlock() noexcept;
  ~SigpipeBlock();
  SigpipeBlock(const SigpipeBlock&) = delete;
  SigpipeBlock& operator=(const SigpipeBlock&) = delete;

  /** Looks at errno after a call that returned `result`, and returns that. Keeps errno. */
  ssize_t noteResult(ssize_t result) noexcept;

 private:
  [[maybe_unused]] sigset_t before_;
  [[maybe_unused]] bool waited_ = false;  // one was pending already
};

}  // namespace ioloop
