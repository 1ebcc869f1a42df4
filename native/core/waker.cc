#include "core/waker.h"

#include <array>
#include <cerrno>
#include <cstdint>

#include "core/sys.h"

namespace ioloop {

Waker::Waker(UniqueFd readEnd, UniqueFd writeEnd) noexcept
    : readEnd_(std::move(readEnd)), writeEnd_(std::move(writeEnd)) {}

Waker::Waker(Waker&& other) noexcept
    : readEnd_(std::move(other.readEnd_)),
      writeEnd_(std::move(other.writeEnd_)),
      awake_(other.awake_.load()) {}

Result<Waker> Waker::create() noexcept {
#if defined(__linux__)
  return create(Kind::eventfd);
#else
  return create(Kind::pipe);
#endif
}

Result<Waker> Waker::create(Kind kind) noexcept {
  if (kind == Kind::pipe) {
    std::array<int, 2> ends{};
    if (sys().pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) < 0) return lastError("pipe2");
    return Waker(UniqueFd(ends[0]), UniqueFd(ends[1]));
  }
#if defined(__linux__)
  UniqueFd event(sys().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!event) return lastError("eventfd");
  return Waker(std::move(event), UniqueFd());
#else
  return SysError{ENOSYS, "eventfd"};
#endif
}

void Waker::wake() noexcept {
  // Sequentially consistent against drain(): either this wake finds the flag down and writes,
  // or the loop has yet to lower it and will look at what the caller has prepared.
  if (awake_.exchange(true)) return;
  const int saved = errno;
  constexpr std::uint64_t kOne = 1;
  // EAGAIN is a full pipe or counter: the loop is being woken anyway.
  while (sys().write(writeFd(), &kOne, sizeof kOne) < 0 && errno == EINTR) {
  }
  errno = saved;
}

void Waker::drain() noexcept {
  std::array<std::uint64_t, 512> buffer;
  // An eventfd is empty after one read; a pipe that foreign code filled may need several.
  for (;;) {
    const ssize_t size = sys().read(fd(), buffer.data(), sizeof buffer);
    if (size < 0 && errno == EINTR) continue;
    if (size < static_cast<ssize_t>(sizeof buffer)) break;
  }
  // Read, and not only written, so that what wakers prepared before they found the flag up is
  // visible to the loop from here on.
  awake_.exchange(false);
}

}  // namespace ioloop
