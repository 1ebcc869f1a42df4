// ioloop-raw-echo: the limit that every echo is held against. One thread, epoll(7)
// level-triggered, accept4, recv, send, and nothing between them.
//
// usage: ioloop-raw-echo [PORT]     127.0.0.1, any free port by default
//
// Prints its port on a line of its own. SIGTERM and SIGINT end it with status 0.

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <unordered_map>
#include <vector>

namespace {

[[noreturn]] void fail(const char* call) {
  std::fprintf(stderr, "ioloop-raw-echo: %s: %s\n", call, std::strerror(errno));
  std::exit(1);
}

int listenOn(std::uint16_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) fail("socket");
  constexpr int kOn = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &kOn, sizeof kOn);
  // Accepted sockets inherit it (tcp(7)): no call per connection.
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) fail("bind");
  constexpr int kBacklog = 4096;
  if (::listen(fd, kBacklog) < 0) fail("listen");
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0) fail("getsockname");
  std::printf("%d\n", ntohs(address.sin_port));
  std::fflush(stdout);
  return fd;
}

/** A descriptor that is readable once the process is asked to end. */
int watchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) fail("sigprocmask");
  const int fd = ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) fail("signalfd");
  return fd;
}

void raiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

class EchoServer {
 public:
  EchoServer(int listener, int signals)
      : set_(::epoll_create1(EPOLL_CLOEXEC)), listener_(listener), signals_(signals) {
    if (set_ < 0) fail("epoll_create1");
    watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
    watch(EPOLL_CTL_ADD, signals_, EPOLLIN);
  }

  void run() {
    for (;;) {
      const int count = ::epoll_wait(set_, events_.data(), static_cast<int>(events_.size()), -1);
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail("epoll_wait");
      for (const epoll_event& event : std::span(events_).first(static_cast<std::size_t>(count))) {
        if (event.data.fd == signals_) return;
        if (event.data.fd == listener_) {
          acceptAll();
        } else if ((event.events & EPOLLOUT) != 0) {
          drain(event.data.fd);
        } else {
          echo(event.data.fd);
        }
      }
    }
  }

 private:
  void watch(int operation, int fd, std::uint32_t interest) {
    epoll_event event{.events = interest, .data = {.fd = fd}};
    if (::epoll_ctl(set_, operation, fd, &event) < 0) fail("epoll_ctl");
  }

  void acceptAll() {
    for (;;) {
      const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED)) return;
      if (fd < 0) fail("accept4");
      watch(EPOLL_CTL_ADD, fd, EPOLLIN);
    }
  }

  void echo(int fd) {
    const ssize_t received = ::recv(fd, buffer_.data(), buffer_.size(), 0);
    if (received < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (received <= 0) return drop(fd);
    const auto size = static_cast<std::size_t>(received);
    const ssize_t sent = ::send(fd, buffer_.data(), size, MSG_NOSIGNAL);
    if (sent == received) return;
    if (sent < 0 && errno != EAGAIN) return drop(fd);
    const auto taken = static_cast<std::size_t>(sent < 0 ? 0 : sent);
    // Nothing more is read until the peer has taken this: the backlog is one buffer at most.
    backlog_[fd].assign(buffer_.begin() + static_cast<std::ptrdiff_t>(taken),
                        buffer_.begin() + static_cast<std::ptrdiff_t>(size));
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
  }

  void drain(int fd) {
    std::vector<char>& rest = backlog_[fd];
    const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EAGAIN) return;
    if (sent < 0) return drop(fd);
    rest.erase(rest.begin(), rest.begin() + sent);
    if (!rest.empty()) return;
    backlog_.erase(fd);
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
  }

  void drop(int fd) {
    backlog_.erase(fd);
    ::close(fd);
  }

  int set_;
  int listener_;
  int signals_;
  std::array<epoll_event, 256> events_{};
  std::array<char, std::size_t{64} * 1024> buffer_{};
  std::unordered_map<int, std::vector<char>> backlog_;
};

}  // namespace

int main(int argc, char** argv) {
  const long port = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (argc > 2 || port < 0 || port > 65535) {
    std::fputs("usage: ioloop-raw-echo [PORT]\n", stderr);
    return 2;
  }
  raiseDescriptorLimit();
  const int signals = watchSignals();
  static EchoServer server(listenOn(static_cast<std::uint16_t>(port)), signals);
  server.run();
  return 0;
}
