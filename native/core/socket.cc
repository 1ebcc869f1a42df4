#include "core/socket.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string>

#include "core/socket_options.h"
#include "core/sys.h"
#include "core/uninterrupted.h"

namespace ioloop {
namespace {

// macOS has no such flags: sys() sets those of the descriptor after accept.
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

// Linux moves no more at once (MAX_RW_COUNT), and macOS answers EINVAL to more.
constexpr std::size_t kMaxTransfer = 0x7ffff000;

Status setFlag(int fd, int level, int name, bool on) noexcept {
  const int value = on ? 1 : 0;
  if (sys().setsockopt(fd, level, name, &value, sizeof value) < 0) return lastError("setsockopt");
  return {};
}

Status applyPresets(int fd, Address::Family family,
                    std::span<const PresetOption> presets) noexcept {
  for (const PresetOption& preset : presets) {
    if (preset.level == IPPROTO_IPV6 && family == Address::Family::inet4) continue;
    const Status set = setSocketOption(fd, preset.level, preset.number, preset.value);
    if (!set) return SysError{set.error().code, preset.name};
  }
  return {};
}

Result<UniqueFd> streamSocket(const Address& address,
                              std::span<const PresetOption> presets) noexcept {
  UniqueFd fd(sys().socket(address.data()->sa_family, SOCK_STREAM, 0));
  if (!fd) return lastError("socket");
  Status done = muteSigpipe(fd.get());
  if (done) done = applyPresets(fd.get(), address.family(), presets);
  if (!done) return done.error();
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

/** How a path begins to listen: nobody can connect before listen(2), so its mode is set in time. */
Status listenAt(int fd, const Address& address, const ListenOptions& options) noexcept {
  const std::string path(address.path());
  const bool inFileSystem = !path.empty() && path.front() != '\0';
  if (sys().bind(fd, address.data(), address.size()) < 0) return lastError("bind");
  Status done;
  if (inFileSystem && options.mode && sys().chmod(path.c_str(), *options.mode) < 0)
    done = lastError("chmod");
  if (done && sys().listen(fd, options.backlog) < 0) done = lastError("listen");
  if (!done && inFileSystem) sys().unlink(path.c_str());
  return done;
}

Status bindLocal(int fd, const Address& local) noexcept {
  Status done;
  if (local.port() != 0) done = setFlag(fd, SOL_SOCKET, SO_REUSEADDR, true);
#if defined(IP_BIND_ADDRESS_NO_PORT)
  if (local.port() == 0) done = setFlag(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, true);
#endif
  if (done && sys().bind(fd, local.data(), local.size()) < 0) return lastError("bind");
  return done;
}

Result<UniqueFd> beginConnect(Result<UniqueFd> made, const Address& address) noexcept {
  if (sys().connect(made->get(), address.data(), address.size()) == 0) return made;
  // Interrupted, it goes on by itself; a second call would answer EALREADY (connect(2)).
  if (errno == EINPROGRESS || errno == EINTR) return made;
  return lastError("connect");
}

Result<int> readOption(int fd, int name) noexcept {
  int value = 0;
  socklen_t size = sizeof value;
  if (sys().getsockopt(fd, SOL_SOCKET, name, &value, &size) < 0) return lastError("getsockopt");
  return value;
}

/** ENOTSOCK, or EINVAL for what is of another type. */
Status expectType(int fd, int wanted) noexcept {
  const auto type = readOption(fd, SO_TYPE);
  if (!type) return type.error();
  if (*type != wanted) return SysError{EINVAL, "getsockopt"};
  return {};
}

Status adoptListenerOf(int fd, int type) noexcept {
  if (const Status expected = expectType(fd, type); !expected) return expected;
  const auto listening = readOption(fd, SO_ACCEPTCONN);
  if (!listening) return listening.error();
  if (*listening == 0) return SysError{EINVAL, "getsockopt"};
  return makeFit(fd);
}

Peer toPeer(const sockaddr_storage& storage) noexcept {
  Peer peer;
  if (storage.ss_family == AF_INET) {
    const auto& inet4 = reinterpret_cast<const sockaddr_in&>(storage);
    peer.family = 4;
    peer.port = ntohs(inet4.sin_port);
    peer.words[0] = static_cast<std::int32_t>(ntohl(inet4.sin_addr.s_addr));
  } else if (storage.ss_family == AF_INET6) {
    const auto& inet6 = reinterpret_cast<const sockaddr_in6&>(storage);
    peer.family = 6;
    peer.port = ntohs(inet6.sin6_port);
    peer.scope = static_cast<std::int32_t>(inet6.sin6_scope_id);
    std::memcpy(peer.words.data(), &inet6.sin6_addr, sizeof peer.words);
    for (std::int32_t& word : peer.words)
      word = static_cast<std::int32_t>(ntohl(static_cast<std::uint32_t>(word)));
  }
  return peer;
}

Result<UniqueFd> acceptFrom(int listener, sockaddr* address, socklen_t* size) noexcept {
  UniqueFd fd(uninterrupted([=] { return sys().accept4(listener, address, size, kAcceptFlags); }));
  if (!fd) return lastError("accept");
  // macOS refuses the option on a connection that was reset while it waited; that one raises no
  // signal later either, for it cannot be written to.
  static_cast<void>(muteSigpipe(fd.get()));
  return fd;
}

ssize_t readQueue(int fd, unsigned long request) noexcept {
  int bytes = 0;
  return sys().ioctl(fd, request, &bytes) < 0 ? -errno : bytes;
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
  Result<UniqueFd> made = streamSocket(address, options.presets);
  if (!made) return made;
  const int fd = made->get();
  if (const Status set = applyOptions(fd, address.family(), options); !set) return set.error();
  if (const Status listening = listenAt(fd, address, options); !listening) return listening.error();
  return made;
}

Result<UniqueFd> acceptSocket(int listener) noexcept {
  return acceptFrom(listener, nullptr, nullptr);
}

Result<UniqueFd> acceptSocket(int listener, Peer& peer) noexcept {
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  auto fd = acceptFrom(listener, reinterpret_cast<sockaddr*>(&storage), &size);
  if (fd) peer = toPeer(storage);
  return fd;
}

Result<UniqueFd> connectSocket(const Address& address,
                               std::span<const PresetOption> presets) noexcept {
  Result<UniqueFd> made = streamSocket(address, presets);
  return made ? beginConnect(std::move(made), address) : std::move(made);
}

Result<UniqueFd> connectSocket(const Address& address, const Address& local,
                               std::span<const PresetOption> presets) noexcept {
  Result<UniqueFd> made = streamSocket(address, presets);
  if (!made) return made;
  if (const Status bound = bindLocal(made->get(), local); !bound) return bound.error();
  return beginConnect(std::move(made), address);
}

Status muteSigpipe([[maybe_unused]] int fd) noexcept {
#if defined(SO_NOSIGPIPE)
  return setFlag(fd, SOL_SOCKET, SO_NOSIGPIPE, true);
#else
  return {};
#endif
}

Status makeFit(int fd) noexcept {
  if (const Status muted = muteSigpipe(fd); !muted) return muted;
  if (sys().fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) return lastError("fcntl");
  const int flags = sys().fcntl(fd, F_GETFL, 0);
  if (flags < 0 || sys().fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return lastError("fcntl");
  return {};
}

Status adoptSocket(int fd) noexcept {
  if (const Status stream = expectType(fd, SOCK_STREAM); !stream) return stream;
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (sys().getpeername(fd, reinterpret_cast<sockaddr*>(&storage), &size) < 0)
    return lastError("getpeername");
  return makeFit(fd);
}

Status adoptListener(int fd) noexcept { return adoptListenerOf(fd, SOCK_STREAM); }

Status adoptSeqpacketListener(int fd) noexcept { return adoptListenerOf(fd, SOCK_SEQPACKET); }

Status resetOnClose(int fd) noexcept {
  constexpr linger kAtOnce{.l_onoff = 1, .l_linger = 0};
  if (sys().setsockopt(fd, SOL_SOCKET, SO_LINGER, &kAtOnce, sizeof kAtOnce) < 0)
    return lastError("setsockopt");
  return {};
}

Result<Address> localAddress(int fd) noexcept {
  return readAddress(fd, sys().getsockname, "getsockname");
}

bool isInet(int fd) noexcept {
  const auto local = localAddress(fd);
  return local && local->family() != Address::Family::local;
}

Result<Address> peerAddress(int fd) noexcept {
  return readAddress(fd, sys().getpeername, "getpeername");
}

Status socketError(int fd) noexcept {
  const auto code = readOption(fd, SO_ERROR);
  if (!code) return code.error();
  if (*code != 0) return SysError{*code, "connect"};
  return {};
}

ssize_t recvSome(int fd, std::span<std::byte> target) noexcept {
  const ssize_t size = uninterrupted(
      [=] { return sys().recv(fd, target.data(), std::min(target.size(), kMaxTransfer), 0); });
  return size < 0 ? -errno : size;
}

ssize_t sendSome(int fd, std::span<const std::byte> source) noexcept {
  const ssize_t size = uninterrupted([=] {
    return sys().send(fd, source.data(), std::min(source.size(), kMaxTransfer), kNoSignal);
  });
  return size < 0 ? -errno : size;
}

ssize_t sendSome(int fd, std::span<const iovec> parts) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts.data());  // POSIX's type for what is only read
  message.msg_iovlen =
      static_cast<decltype(message.msg_iovlen)>(std::min<std::size_t>(parts.size(), IOV_MAX));
  const ssize_t size = uninterrupted([&] { return sys().sendmsg(fd, &message, kNoSignal); });
  return size < 0 ? -errno : size;
}

ssize_t sendFileSome(int fd, int file, off_t offset, std::size_t count) noexcept {
  const ssize_t size = uninterrupted(
      [=] { return sys().sendfile(fd, file, offset, std::min(count, kMaxTransfer)); });
  return size < 0 ? -errno : size;
}

ssize_t unreadBytes(int fd) noexcept { return readQueue(fd, kUnreadRequest); }

ssize_t unsentBytes(int fd) noexcept {
#if defined(SO_NWRITE)
  const auto bytes = readOption(fd, SO_NWRITE);
  return bytes ? *bytes : -bytes.error().code;
#else
  return readQueue(fd, kUnsentRequest);
#endif
}

Status shutdownWrite(int fd) noexcept {
  if (sys().shutdown(fd, SHUT_WR) < 0) return lastError("shutdown");
  return {};
}

}  // namespace ioloop
