#include "core/passed_fds.h"

#include <cstring>

#include "core/sys.h"

namespace ioloop {
namespace {

void closeOnExec([[maybe_unused]] int fd) noexcept {
#if !defined(MSG_CMSG_CLOEXEC)
  static_cast<void>(sys().fcntl(fd, F_SETFD, FD_CLOEXEC));
#endif
}

}  // namespace

std::size_t putRights(std::span<std::byte> control, std::span<const int> fds) noexcept {
  const std::size_t space = CMSG_SPACE(fds.size_bytes());
  if (fds.empty() || fds.size() > kMaxPassedFds || space > control.size()) return 0;
  // The padding goes to the kernel as well.
  std::memset(control.data(), 0, space);
  auto& message = *reinterpret_cast<cmsghdr*>(control.data());
  message.cmsg_len = static_cast<decltype(message.cmsg_len)>(CMSG_LEN(fds.size_bytes()));
  message.cmsg_level = SOL_SOCKET;
  message.cmsg_type = SCM_RIGHTS;
  std::memcpy(CMSG_DATA(&message), fds.data(), fds.size_bytes());
  return space;
}

std::size_t takeRights(const cmsghdr& message, std::span<int> target) noexcept {
  if (message.cmsg_level != SOL_SOCKET || message.cmsg_type != SCM_RIGHTS) return 0;
  const std::size_t count = (message.cmsg_len - CMSG_LEN(0)) / sizeof(int);
  const auto* next = CMSG_DATA(&message);
  std::size_t taken = 0;
  for (std::size_t place = 0; place < count; ++place, next += sizeof(int)) {
    int fd = -1;
    std::memcpy(&fd, next, sizeof fd);
    if (taken == target.size()) {
      sys().close(fd);
      continue;
    }
    closeOnExec(fd);
    target[taken++] = fd;
  }
  return taken;
}

}  // namespace ioloop
