#include "core/passed_fds.h"

#include <sys/uio.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "core/control_messages.h"
#include "core/socket.h"
#include "core/sys.h"
#include "core/uninterrupted.h"

namespace ioloop {
namespace {

// More than what they take: credentials may come along, once somebody has asked for them.
struct alignas(cmsghdr) ControlSpace : std::array<std::byte, kPassedFdsSpace + 256> {};

msghdr messageOf(iovec& part) noexcept {
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  return message;
}

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

ssize_t sendWithFds(int fd, std::span<const std::byte> source, std::span<const int> fds) noexcept {
  ControlSpace control;
  // POSIX's type for what is only read.
  iovec part{const_cast<std::byte*>(source.data()), source.size()};
  msghdr message = messageOf(part);
  message.msg_controllen = static_cast<decltype(message.msg_controllen)>(putRights(control, fds));
  if (message.msg_controllen > 0) message.msg_control = control.data();
  const ssize_t size = uninterrupted([&] { return sys().sendmsg(fd, &message, kNoSignal); });
  return size < 0 ? -errno : size;
}

ssize_t recvWithFds(int fd, std::span<std::byte> target, std::span<int> fds,
                    PassedFds& passed) noexcept {
  ControlSpace control;
  iovec part{target.data(), target.size()};
  msghdr message = messageOf(part);
  message.msg_control = control.data();
  message.msg_controllen = sizeof control;
  const ssize_t size =
      uninterrupted([&] { return sys().recvmsg(fd, &message, kReceiveCloseOnExec); });
  if (size < 0) return -errno;
  passed.truncated = (message.msg_flags & MSG_CTRUNC) != 0;
  forEachControl(message, [&](const cmsghdr& each) {
    passed.count += takeRights(each, fds.subspan(passed.count));
  });
  return size;
}

Result<UniqueFd> duplicateFd(int fd) noexcept {
  UniqueFd duplicate(sys().fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!duplicate) return lastError("fcntl");
  return duplicate;
}

}  // namespace ioloop
