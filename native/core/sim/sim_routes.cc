// Sends the system calls on simulated descriptors to their network.

#include <algorithm>
#include <array>
#include <cerrno>
#include <mutex>

#include "core/sim/sim_network.h"

namespace ioloop {
namespace {

SysTable before;

/** An errno as the trace knows it: the numbers differ from system to system. */
std::uint64_t portable(int code) noexcept {
  switch (code) {
    case EAGAIN:
      return 1;
    case EINTR:
      return 2;
    case ECONNRESET:
      return 3;
    case EPIPE:
      return 4;
    case EBADF:
      return 5;
    case EINPROGRESS:
      return 6;
    case ECONNREFUSED:
      return 7;
    case ENOTCONN:
      return 8;
    case EADDRINUSE:
      return 9;
    case EMFILE:
      return 10;
    default:
      return 11;
  }
}

}  // namespace

/** One route for each entry of the table. What stands for a call in the trace is its line here. */
struct SimCalls {
  template <typename T>
  static T answer(SimNetwork& network, std::uint64_t call, int fd, T result) noexcept {
    const bool failed = result < 0;
    const int code = failed ? static_cast<int>(-result) : 0;
    network.trace().fold({call, network.numberOf(fd),
                          failed ? ~portable(code) : static_cast<std::uint64_t>(result)});
    if (!failed) return result;
    errno = code;
    return -1;
  }

  /** A descriptor as the result: its number depends on which networks the thread has. */
  static int answerFd(SimNetwork& network, std::uint64_t call, int fd, int result) noexcept {
    if (result < 0) return answer(network, call, fd, result);
    answer(network, call, fd, static_cast<int>(network.numberOf(result)));
    return result;
  }

  static int close(int fd) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.close(fd) : answer(*network, 101, fd, network->close(fd));
  }
  static int fcntl(int fd, int command, int argument) {
    SimNetwork* network = SimNetwork::of(fd);
    if (network == nullptr) return before.fcntl(fd, command, argument);
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
      return answerFd(*network, 102, fd, network->fcntl(fd, command, argument));
    const int result = network->fcntl(fd, command, argument);
    if (result >= 0) return result;  // flags: their values are the system's
    return answer(*network, 103, fd, result);
  }
  static int fstat(int fd, struct stat* status) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.fstat(fd, status)
                              : answer(*network, 104, fd, network->fstat(fd, status));
  }
  static int dup3(int from, int to, int flags) {
    SimNetwork* network = SimNetwork::of(from);
    return network == nullptr ? before.dup3(from, to, flags)
                              : answerFd(*network, 105, from, network->duplicateTo(from, to));
  }
  static ssize_t read(int fd, void* target, std::size_t size) {
    return SimNetwork::of(fd) == nullptr ? before.read(fd, target, size)
                                         : recv(fd, target, size, 0);
  }
  static ssize_t write(int fd, const void* source, std::size_t size) {
    return SimNetwork::of(fd) == nullptr ? before.write(fd, source, size)
                                         : send(fd, source, size, 0);
  }
  static int socket(int domain, int type, int protocol) {
    SimNetwork* network = SimNetwork::host();
    if (network == nullptr || type != SOCK_STREAM) return before.socket(domain, type, protocol);
    auto made = network->socket(domain);
    return answerFd(*network, 120, network->base_, made ? made->release() : -made.error().code);
  }
  // Of a path the thread's host is asked first.
  static int lstat(const char* path, struct stat* status) {
    const BoundPath bound(path);
    return bound.socket == 0 ? before.lstat(path, status)
                             : bound.network->describe(bound.socket, status);
  }
  static int chmod(const char* path, mode_t mode) {
    return BoundPath(path).socket == 0 ? before.chmod(path, mode) : 0;  // one host, one user
  }
  static int unlink(const char* path) {
    const BoundPath bound(path);
    return bound.socket == 0 ? before.unlink(path)
                             : bound.network->unlink(bound.name, bound.socket);
  }
  static ssize_t quietWrite(int fd, const void* source, std::size_t size) {
    return SimNetwork::of(fd) == nullptr ? before.quietWrite(fd, source, size)
                                         : send(fd, source, size, 0);
  }
  static ssize_t sendfile(int socket, int file, off_t offset, std::size_t count) {
    if (SimNetwork::of(socket) == nullptr) return before.sendfile(socket, file, offset, count);
    std::array<std::byte, std::size_t{16} * 1024> bytes;
    const ssize_t size = before.pread(file, bytes.data(), std::min(count, bytes.size()), offset);
    return size <= 0 ? size : send(socket, bytes.data(), static_cast<std::size_t>(size), 0);
  }
  static int ioctl(int fd, unsigned long request, int* value) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.ioctl(fd, request, value)
                              : answer(*network, 119, fd, network->ioctl(fd, request, value));
  }
  static int bind(int fd, const sockaddr* address, socklen_t size) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.bind(fd, address, size)
                              : answer(*network, 106, fd, network->bind(fd, address, size));
  }
  static int listen(int fd, int backlog) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.listen(fd, backlog)
                              : answer(*network, 107, fd, network->listen(fd, backlog));
  }
  static int accept4(int fd, sockaddr* address, socklen_t* size, int flags) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.accept4(fd, address, size, flags)
                              : answerFd(*network, 108, fd, network->accept(fd, address, size));
  }
  static int connect(int fd, const sockaddr* address, socklen_t size) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.connect(fd, address, size)
                              : answer(*network, 109, fd, network->connect(fd, address, size));
  }
  static int shutdown(int fd, int how) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.shutdown(fd, how)
                              : answer(*network, 110, fd, network->shutdown(fd, how));
  }
  static int getsockopt(int fd, int level, int name, void* value, socklen_t* size) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr
               ? before.getsockopt(fd, level, name, value, size)
               : answer(*network, 111, fd, network->getsockopt(fd, level, name, value, size));
  }
  static int setsockopt(int fd, int level, int name, const void* value, socklen_t size) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr
               ? before.setsockopt(fd, level, name, value, size)
               : answer(*network, 112, fd, network->setsockopt(fd, level, name, value, size));
  }
  static int getsockname(int fd, sockaddr* address, socklen_t* size) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.getsockname(fd, address, size)
                              : answer(*network, 113, fd, network->getsockname(fd, address, size));
  }
  static int getpeername(int fd, sockaddr* address, socklen_t* size) {
    SimNetwork* network = SimNetwork::of(fd);
    return network == nullptr ? before.getpeername(fd, address, size)
                              : answer(*network, 114, fd, network->getpeername(fd, address, size));
  }
  static ssize_t recv(int fd, void* target, std::size_t size, int flags) {
    SimNetwork* network = SimNetwork::of(fd);
    if (network == nullptr) return before.recv(fd, target, size, flags);
    const iovec part{target, size};
    return answer(*network, 115, fd, network->receive(fd, {&part, 1}, flags));
  }
  static ssize_t send(int fd, const void* source, std::size_t size, int flags) {
    SimNetwork* network = SimNetwork::of(fd);
    if (network == nullptr) return before.send(fd, source, size, flags);
    const iovec part{const_cast<void*>(source), size};
    return answer(*network, 116, fd, network->send(fd, {&part, 1}, flags));
  }
  static ssize_t recvmsg(int fd, msghdr* message, int flags) {
    SimNetwork* network = SimNetwork::of(fd);
    if (network == nullptr) return before.recvmsg(fd, message, flags);
    message->msg_namelen = 0;
    message->msg_controllen = 0;
    message->msg_flags = 0;
    return answer(*network, 117, fd, network->receive(fd, partsOf(*message), flags));
  }
  static ssize_t sendmsg(int fd, const msghdr* message, int flags) {
    SimNetwork* network = SimNetwork::of(fd);
    if (network == nullptr) return before.sendmsg(fd, message, flags);
    const ssize_t result =
        message->msg_controllen == 0 ? network->send(fd, partsOf(*message), flags) : -EOPNOTSUPP;
    return answer(*network, 118, fd, result);
  }

 private:
  /** What `path` means to the network that is the thread's host; socket 0: nothing. */
  struct BoundPath {
    explicit BoundPath(const char* path)
        : network(SimNetwork::host()),
          name(nameOfPath(path)),
          socket(network == nullptr ? 0 : network->boundTo(name)) {}

    SimNetwork* network;
    std::string name;
    SimSocketId socket;
  };

  static std::span<const iovec> partsOf(const msghdr& message) noexcept {
    return {message.msg_iov, static_cast<std::size_t>(message.msg_iovlen)};
  }
};

void installSimRoutes() {
  static std::once_flag installed;
  std::call_once(installed, [] {
    static SysTable routes;
    before = routes = sys();
    routes.close = SimCalls::close;
    routes.fcntl = SimCalls::fcntl;
    routes.fstat = SimCalls::fstat;
    routes.dup3 = SimCalls::dup3;
    routes.read = SimCalls::read;
    routes.write = SimCalls::write;
    routes.socket = SimCalls::socket;
    routes.lstat = SimCalls::lstat;
    routes.chmod = SimCalls::chmod;
    routes.unlink = SimCalls::unlink;
    routes.quietWrite = SimCalls::quietWrite;
    routes.sendfile = SimCalls::sendfile;
    routes.ioctl = SimCalls::ioctl;
    routes.bind = SimCalls::bind;
    routes.listen = SimCalls::listen;
    routes.accept4 = SimCalls::accept4;
    routes.connect = SimCalls::connect;
    routes.shutdown = SimCalls::shutdown;
    routes.getsockopt = SimCalls::getsockopt;
    routes.setsockopt = SimCalls::setsockopt;
    routes.getsockname = SimCalls::getsockname;
    routes.getpeername = SimCalls::getpeername;
    routes.recv = SimCalls::recv;
    routes.send = SimCalls::send;
    routes.recvmsg = SimCalls::recvmsg;
    routes.sendmsg = SimCalls::sendmsg;
    installSys(routes);
  });
}

}  // namespace ioloop
