// The system calls on the descriptors of a SimNetwork.

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <numeric>

#include "core/sim/sim_network.h"
#include "core/socket.h"

namespace ioloop {
namespace {

std::size_t totalSize(std::span<const iovec> parts) noexcept {
  return std::accumulate(parts.begin(), parts.end(), std::size_t{0},
                         [](std::size_t sum, const iovec& part) { return sum + part.iov_len; });
}

}  // namespace

int SimNetwork::fcntl(int fd, int command, int argument) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  switch (command) {
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
      return addDescriptor(*socket);
    case F_GETFL:
      return socket->statusFlags | O_RDWR;
    case F_SETFL:
      socket->statusFlags = argument;
      return 0;
    case F_GETFD:
      return FD_CLOEXEC;  // no descriptor of this network reaches another process
    case F_SETFD:
      return 0;
    default:
      return -EINVAL;
  }
}

int SimNetwork::duplicateTo(int from, int to) {
  SimSocket* socket = open(from);
  if (socket == nullptr || of(to) != this) return -EBADF;
  if (from == to) return -EINVAL;
  const auto number = static_cast<std::size_t>(numberOf(to));
  ++socket->descriptors;  // before the close: `to` may be the last other name of it
  if (socketOf(to) != 0) (void)close(to);
  for (std::size_t unused = descriptors_.size(); unused <= number; ++unused) {
    descriptors_.push_back(0);
    free_.insert(static_cast<int>(unused));
  }
  free_.erase(static_cast<int>(number));
  descriptors_[number] = socket->id;
  return to;
}

int SimNetwork::fstat(int fd, struct stat* status) noexcept {
  const SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  return describe(socket->id, status);
}

int SimNetwork::ioctl(int fd, unsigned long request, int* value) noexcept {
  const SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  const bool unread = request == kUnreadRequest;
  if (!unread && request != kUnsentRequest) return -EINVAL;
  // Unsent, to the kernel, is what the peer's has not acknowledged: what is still under way.
  const SimSocket* peer = find(socket->peer);
  const std::size_t arrived = peer == nullptr ? 0 : peer->received.size();
  *value = static_cast<int>(unread ? socket->received.size()
                                   : socket->outstanding - std::min(socket->outstanding, arrived));
  return 0;
}

int SimNetwork::describe(SimSocketId id, struct stat* status) const noexcept {
  *status = {};
  status->st_mode = S_IFSOCK;
  status->st_dev = static_cast<dev_t>(base_);
  status->st_ino = static_cast<ino_t>(id);
  return 0;
}

int SimNetwork::unlink(const std::string& name, SimSocketId id) {
  names_.erase(name);
  find(id)->name.clear();
  return 0;
}

int SimNetwork::bindEphemeral(SimSocket& socket) {
  SimAddress address = loopback(socket.family);
  if (socket.family != AF_UNIX) {
    setPort(address, nextPort_);
    while (names_.contains(nameOf(address))) setPort(address, ++nextPort_);
    nextPort_ = nextPort_ == 65535 ? 49152 : static_cast<std::uint16_t>(nextPort_ + 1);
    socket.name = nameOf(address);
    names_[socket.name] = socket.id;
  }
  socket.local = address;
  return 0;
}

int SimNetwork::bind(int fd, const sockaddr* address, socklen_t size) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  if (socket->state != SimSocket::State::fresh || !socket->name.empty()) return -EINVAL;
  const SimAddress wanted = toAddress(address, size);
  if (wanted.storage.ss_family != socket->family) return -EAFNOSUPPORT;
  const std::string name = nameOf(wanted);
  if (name.empty()) return bindEphemeral(*socket);
  if (!names_.try_emplace(name, socket->id).second) return -EADDRINUSE;
  socket->name = name;
  socket->local = wanted;
  return 0;
}

int SimNetwork::listen(int fd, int backlog) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  if (socket->state != SimSocket::State::fresh && socket->state != SimSocket::State::listening)
    return -EINVAL;
  if (socket->name.empty() && socket->family == AF_UNIX) return -EINVAL;
  if (socket->name.empty()) bindEphemeral(*socket);
  socket->state = SimSocket::State::listening;
  socket->backlog = static_cast<std::size_t>(std::max(backlog, 1));
  return 0;
}

int SimNetwork::accept(int fd, sockaddr* address, socklen_t* size) {
  SimSocket* listener = open(fd);
  if (listener == nullptr) return -EBADF;
  if (listener->state != SimSocket::State::listening) return -EINVAL;
  if (listener->acceptQueue.empty()) return -EAGAIN;
  if (const int code = disturb(*listener, Ready::read)) return -code;
  SimSocket& accepted = *find(listener->acceptQueue.front());
  const int made = addDescriptor(accepted);
  if (made < 0) return made;
  giveAddress(accepted.remote, address, size);
  listener->acceptQueue.pop_front();
  while (!listener->waiting.empty() && listener->acceptQueue.size() < listener->backlog) {
    SimSocket* client = find(listener->waiting.front());
    listener->waiting.pop_front();
    if (client != nullptr) admit(*listener, *client);
  }
  changed(*listener, Ready::none);
  return made;
}

int SimNetwork::connect(int fd, const sockaddr* address, socklen_t size) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  switch (socket->state) {
    case SimSocket::State::connecting:
      return -EALREADY;
    case SimSocket::State::connected:
    case SimSocket::State::listening:
      return -EISCONN;
    case SimSocket::State::dead:
      return -std::exchange(socket->error, socket->error == 0 ? ECONNABORTED : 0);
    case SimSocket::State::fresh:
      break;
  }
  socket->remote = toAddress(address, size);
  if (socket->remote.storage.ss_family != socket->family) return -EAFNOSUPPORT;
  if (socket->name.empty()) bindEphemeral(*socket);
  socket->state = SimSocket::State::connecting;
  changed(*socket, Ready::none);
  perform(now_ + drawDelay(),
          [this, id = socket->id, name = nameOf(socket->remote)] { knock(id, name); });
  return -EINPROGRESS;
}

int SimNetwork::shutdown(int fd, int how) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  if (socket->state != SimSocket::State::connected) return -ENOTCONN;
  if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR) return -EINVAL;
  if (how != SHUT_WR) socket->readShut = true;
  if (how != SHUT_RD && !std::exchange(socket->writeShut, true)) sendEnd(*socket);
  changed(*socket, Ready::read | Ready::write | Ready::hangup);
  return 0;
}

int SimNetwork::getsockopt(int fd, int level, int name, void* value, socklen_t* size) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  int answer = 0;
  std::span<const char> bytes(static_cast<const char*>(static_cast<const void*>(&answer)),
                              sizeof answer);
  const auto set = socket->options.find({level, name});
  if (level == SOL_SOCKET && name == SO_ERROR) {
    answer = std::exchange(socket->error, 0);
    changed(*socket, Ready::none);
  } else if (level == SOL_SOCKET && name == SO_TYPE) {
    answer = SOCK_STREAM;
  } else if (level == SOL_SOCKET && name == SO_ACCEPTCONN) {
    answer = socket->state == SimSocket::State::listening ? 1 : 0;
  } else if (set != socket->options.end()) {
    bytes = set->second;
  } else if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_RCVBUF)) {
    answer = static_cast<int>(options_.bufferSize);
  }
  *size = std::min(*size, static_cast<socklen_t>(bytes.size()));
  std::memcpy(value, bytes.data(), *size);
  return 0;
}

int SimNetwork::setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  socket->options[{level, name}].assign(static_cast<const char*>(value), size);
  if (level != SOL_SOCKET || name != SO_LINGER) return 0;
  if (size < sizeof socket->closing) return -EINVAL;
  std::memcpy(&socket->closing, value, sizeof socket->closing);
  return 0;
}

int SimNetwork::getsockname(int fd, sockaddr* address, socklen_t* size) noexcept {
  const SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  giveAddress(socket->local, address, size);
  return 0;
}

int SimNetwork::getpeername(int fd, sockaddr* address, socklen_t* size) noexcept {
  const SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  if (socket->state != SimSocket::State::connected) return -ENOTCONN;
  giveAddress(socket->remote, address, size);
  return 0;
}

ssize_t SimNetwork::receive(int fd, std::span<const iovec> target, int flags) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  if (socket->state == SimSocket::State::fresh || socket->state == SimSocket::State::listening)
    return -ENOTCONN;
  if ((flags & MSG_OOB) != 0) return -EINVAL;
  if (!has(socket->readiness(options_.bufferSize), Ready::read)) return -EAGAIN;
  if (const int code = disturb(*socket, Ready::read)) return -code;
  std::size_t size = std::min(totalSize(target), socket->received.size());
  if (socket->received.empty()) {
    const int error = std::exchange(socket->error, 0);
    if (error != 0) changed(*socket, Ready::none);
    return -error;
  }
  if (size > 1 && random_.chance(options_.shortRead)) size = 1 + random_.below(size - 1);
  std::size_t taken = 0;
  for (const iovec& part : target) {
    const std::size_t share = std::min(part.iov_len, size - taken);
    const std::span into(static_cast<std::byte*>(part.iov_base), share);
    socket->received.copyTo(into, taken);
    trace_.fold(std::span<const std::byte>(into));
    taken += share;
  }
  if ((flags & MSG_PEEK) != 0) return static_cast<ssize_t>(size);
  socket->received.drop(size);
  changed(*socket, Ready::none);
  if (SimSocket* peer = find(socket->peer); peer != nullptr && size > 0) {
    const bool wasFull = peer->outstanding >= options_.bufferSize;
    peer->outstanding -= size;
    if (wasFull) changed(*peer, Ready::write);
  }
  return static_cast<ssize_t>(size);
}

ssize_t SimNetwork::send(int fd, std::span<const iovec> source, int) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  if (socket->state == SimSocket::State::connecting) return -EAGAIN;
  if (socket->error != 0) {
    const int error = std::exchange(socket->error, 0);
    changed(*socket, Ready::none);
    return -error;
  }
  if (socket->state != SimSocket::State::connected || socket->writeShut) return -EPIPE;
  const std::size_t room = options_.bufferSize - std::min(options_.bufferSize, socket->outstanding);
  if (room == 0) return -EAGAIN;
  if (const int code = disturb(*socket, Ready::write)) return -code;
  std::size_t size = std::min(totalSize(source), room);
  if (size > 1 && random_.chance(options_.shortWrite)) size = 1 + random_.below(size - 1);
  std::vector<std::byte> bytes;
  bytes.reserve(size);
  for (const iovec& part : source) {
    const std::span from(static_cast<const std::byte*>(part.iov_base),
                         std::min(part.iov_len, size - bytes.size()));
    trace_.fold(from);
    bytes.insert(bytes.end(), from.begin(), from.end());
  }
  if (size > 0) sendBytes(*socket, std::move(bytes));
  changed(*socket, Ready::none);
  return static_cast<ssize_t>(size);
}

}  // namespace ioloop
