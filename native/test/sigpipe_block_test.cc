#include "core/sigpipe_block.h"

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>

#include "core/unique_fd.h"
#include "test/check.h"

namespace ioloop {
namespace {

// This process keeps the default disposition, so a SIGPIPE that gets through ends the test.

sigset_t sigpipeAlone() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGPIPE);
  return set;
}

bool isPending() {
  sigset_t pending;
  sigpending(&pending);
  return sigismember(&pending, SIGPIPE) == 1;
}

bool isBlocked() {
  sigset_t mask;
  pthread_sigmask(SIG_SETMASK, nullptr, &mask);
  return sigismember(&mask, SIGPIPE) == 1;
}

/** The writing end of a pipe that nobody reads. */
UniqueFd brokenPipe() {
  std::array<int, 2> ends{-1, -1};
  CHECK(::pipe(ends.data()) == 0);
  ::close(ends[0]);
  return UniqueFd(ends[1]);
}

TEST("a write to nobody is EPIPE, and the signal is gone when it is unblocked") {
  const UniqueFd pipe = brokenPipe();
  {
    SigpipeBlock block;
    CHECK(isBlocked());
    CHECK(block.noteResult(::write(pipe.get(), "x", 1)) == -1);
    CHECK(errno == EPIPE);
    CHECK(!isPending());
  }
  CHECK(errno == EPIPE);
  CHECK(!isBlocked());
}

TEST("a signal that waited before goes on waiting, where the thread blocks it by itself") {
  const UniqueFd pipe = brokenPipe();
  const sigset_t sigpipe = sigpipeAlone();
  pthread_sigmask(SIG_BLOCK, &sigpipe, nullptr);
  pthread_kill(pthread_self(), SIGPIPE);
  {
    SigpipeBlock block;
    CHECK(block.noteResult(::write(pipe.get(), "x", 1)) == -1);
  }
  CHECK(isBlocked());
  CHECK(isPending());
  int taken = 0;
  CHECK(sigwait(&sigpipe, &taken) == 0);
  pthread_sigmask(SIG_UNBLOCK, &sigpipe, nullptr);
}

TEST("other results pass, and take no signal") {
  SigpipeBlock block;
  CHECK(block.noteResult(5) == 5);
  errno = EAGAIN;
  CHECK(block.noteResult(-1) == -1);
  CHECK(errno == EAGAIN);
}

}  // namespace
}  // namespace ioloop
