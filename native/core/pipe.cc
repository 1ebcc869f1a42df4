#include "core/pipe.h"

#include <cerrno>

#include "core/sys.h"
#include "core/uninterrupted.h"

namespace ioloop {
namespace {

Status raiseNoSigpipe([[maybe_unused]] int fd) noexcept {
#if defined(F_SETNOSIGPIPE)
  if (sys().fcntl(fd, F_SETNOSIGPIPE, 1) < 0) return lastError("fcntl");
#endif
  return {};
}

}  // namespace

Result<int> adoptPipe(int fd) noexcept {
  struct stat file{};
  if (sys().fstat(fd, &file) < 0) return lastError("fstat");
  if (!S_ISFIFO(file.st_mode) && !S_ISCHR(file.st_mode) && !S_ISSOCK(file.st_mode))
    return SysError{EPERM, "fstat"};
  if (const Status muted = raiseNoSigpipe(fd); !muted) return muted.error();
  if (fd > STDERR_FILENO && sys().fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return lastError("fcntl");
  const int flags = sys().fcntl(fd, F_GETFL, 0);
  if (flags < 0) return lastError("fcntl");
  if (const Status set = restoreFlags(fd, flags | O_NONBLOCK); !set) return set.error();
  return flags;
}

Status restoreFlags(int fd, int flags) noexcept {
  if (sys().fcntl(fd, F_SETFL, flags) < 0) return lastError("fcntl");
  return {};
}

ssize_t readSome(int fd, std::span<std::byte> target) noexcept {
  const ssize_t size = uninterrupted([=] { return sys().read(fd, target.data(), target.size()); });
  return size < 0 ? -errno : size;
}

ssize_t writeSome(int fd, std::span<const std::byte> source) noexcept {
  const ssize_t size =
      uninterrupted([=] { return sys().quietWrite(fd, source.data(), source.size()); });
  return size < 0 ? -errno : size;
}

Result<UniqueFd> openSpare() noexcept {
  UniqueFd fd(sys().open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!fd) return lastError("open");
  return fd;
}

}  // namespace ioloop
