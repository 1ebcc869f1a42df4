#include "core/sigpipe_block.h"

#include <cerrno>

namespace ioloop {

#if defined(__APPLE__)

SigpipeBlock::SigpipeBlock() noexcept : before_() {}
SigpipeBlock::~SigpipeBlock() = default;
ssize_t SigpipeBlock::noteResult(ssize_t result) noexcept { return result; }

#else

namespace {

sigset_t sigpipeAlone() noexcept {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

bool isPending() noexcept {
  sigset_t pending;
  return sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

}  // namespace

SigpipeBlock::SigpipeBlock() noexcept : before_() {
  const sigset_t sigpipe = sigpipeAlone();
  pthread_sigmask(SIG_BLOCK, &sigpipe, &before_);
  waited_ = sigismember(&before_, SIGPIPE) == 1 && isPending();
}

SigpipeBlock::~SigpipeBlock() {
  const int code = errno;
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  errno = code;
}

ssize_t SigpipeBlock::noteResult(ssize_t result) noexcept {
  if (result >= 0 || errno != EPIPE || waited_) return result;
  const sigset_t sigpipe = sigpipeAlone();
  int taken = 0;
  if (isPending()) sigwait(&sigpipe, &taken);
  errno = EPIPE;
  return result;
}

#endif

}  // namespace ioloop
