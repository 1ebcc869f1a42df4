#include "core/socket.h"

#include <cerrno>

#include "core/sys.h"

namespace ioloop {
namespace {

// macOS has neither: its sockets are told at birth (SO_NOSIGPIPE), and sys() sets the descriptor
// flags after accept.
#if defined(MSG_NOSIGNAL)
constexpr int kNoSignal = MSG_NOSIGNAL;
#else
constexpr int kNoSignal = 0;
#endif
#if defined(SOCK_NONBLOCK)
constexpr int kAcceptFlags = SOCK_NONBLOCK | SOCK_CLOEXEC;
#else
constexpr int kAcceptFlags = 0;
#endif
// FreeBSD's SO_REUSEPORT gives every connection to the last one bound (setsockopt(2)).
#if defined(SO_REUSEPORT_LB)
constexpr int kReusePort = SO_REUSEPORT_LB;
#else
constexpr int kReusePort = SO_REUSEPORT;
#endif

/** Makes `call` until no signal interrupts it. */
template <typename Call>
auto uninterrupted(Call call) noexcept {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

Status setFlag(int fd, int level, int name, bool on) noexcept {
  const int value = on ? 1 : 0;
  if (sys().setsockopt(fd, level, name, &value, sizeof value) < 0) return lastError("setsockopt");
  return {};
}

Status muteSigpipe([[maybe_unused]] int fd) noexcept {
#if defined(SO_NOSIGPIPE)
  return setFlag(fd, SOL_SOCKET, SO_NOSIGPIPE, true);
#else
  return {};
#endif
}

Result<UniqueFd> streamSocket(const Address& address) noexcept {
  UniqueFd fd(sys().socket(address.data()->sa_family, SOCK_STREAM, 0));
  if (!fd) return lastError("socket");
  if (const Status muted = muteSigpipe(fd.get()); !muted) return muted.error();
  return fd;
}

Status applyOptions(int fd, Address::Family family, const ListenOptions& options) noexcept {
  Status done;
  if (family != Address::Family::local) done = setFlag(fd, SOL_SOCKET, SO_REUSEADDR, true);
  if (done && family == Address::Family::inet6) {
    done = setFlag(fd, IPPROTO_IPV6, IPV6_V6ONLY, options.ipv6Only);
  }
  if (done && options.reusePort) done = setFlag(fd, SOL_SOCKET, kReusePort, true);
  return done;
}

Result<Address> readAddress(int fd, int (*read)(int, sockaddr*, socklen_t*),
                            const char* call) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (read(fd, reinterpret_cast<sockaddr*>(&storage), &size) < 0) return lastError(call);
  return Address::fromSockaddr(storage, size);
}

}  // namespace

Result<UniqueFd> listenSocket(const Address& address, const ListenOptions& options) noexcept {
  Result<UniqueFd> made = streamSocket(address);
  if (!made) return made;
  const int fd = made->get();
  if (const Status set = applyOptions(fd, address.family(), options); !set) return set.error();
  if (sys().bind(fd, address.data(), address.size()) < 0) return lastError("bind");
  if (sys().listen(fd, options.backlog) < 0) return lastError("listen");
  return made;
}

Result<UniqueFd> acceptSocket(int listener) noexcept {
  UniqueFd fd(
      uninterrupted([=] { return sys().accept4(listener, nullptr, nullptr, kAcceptFlags); }));
  if (!fd) return lastError("accept");
  // macOS refuses the option on a connection that was reset while it waited; that one raises no
  // signal later either, for it cannot be written to.
  static_cast<void>(muteSigpipe(fd.get()));
  return fd;
}

Result<UniqueFd> connectSocket(const Address& address) noexcept {
  Result<UniqueFd> made = streamSocket(address);
  if (!made) return made;
  if (sys().connect(made->get(), address.data(), address.size()) == 0) return made;
  // Interrupted, it goes on by itself; a second call would answer EALREADY (connect(2)).
  if (errno == EINPROGRESS || errno == EINTR) return made;
  return lastError("connect");
}

Result<Address> localAddress(int fd) noexcept {
  return readAddress(fd, sys().getsockname, "getsockname");
}

Result<Address> peerAddress(int fd) noexcept {
  return readAddress(fd, sys().getpeername, "getpeername");
}

Status socketError(int fd) noexcept {
  int code = 0;
  socklen_t size = sizeof code;
  if (sys().getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &size) < 0) return lastError("getsockopt");
  if (code != 0) return SysError{code, "connect"};
  return {};
}

ssize_t recvSome(int fd, std::span<std::byte> target) noexcept {
  const ssize_t size =
      uninterrupted([=] { return sys().recv(fd, target.data(), target.size(), 0); });
  return size < 0 ? -errno : size;
}

ssize_t sendSome(int fd, std::span<const std::byte> source) noexcept {
  const ssize_t size =
      uninterrupted([=] { return sys().send(fd, source.data(), source.size(), kNoSignal); });
  return size < 0 ? -errno : size;
}

Status shutdownWrite(int fd) noexcept {
  if (sys().shutdown(fd, SHUT_WR) < 0) return lastError("shutdown");
  return {};
}

}  // namespace ioloop
