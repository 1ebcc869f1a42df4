#include "raw_server.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ioloop::bench {
namespace {

[[noreturn]] void fail(const char* call) {
  std::fprintf(stderr, "raw server: %s: %s\n", call, std::strerror(errno));
  std::exit(1);
}

/** Prints the port on a line of its own. */
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

}  // namespace

RawServer::RawServer(std::uint16_t port) : set_(::epoll_create1(EPOLL_CLOEXEC)), listener_(-1) {
  if (set_ < 0) fail("epoll_create1");
  raiseDescriptorLimit();
  // Before the port is printed: whoever has read it may send the signal.
  signals_ = watchSignals();
  listener_ = listenOn(port);
  watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  watch(EPOLL_CTL_ADD, signals_, EPOLLIN);
}

void RawServer::run() {
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
        receive(event.data.fd);
      }
    }
  }
}

void RawServer::watch(int operation, int fd, std::uint32_t interest) {
  epoll_event event{.events = interest, .data = {.fd = fd}};
  if (::epoll_ctl(set_, operation, fd, &event) < 0) fail("epoll_ctl");
}

void RawServer::acceptAll() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED)) return;
    if (fd < 0) fail("accept4");
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

void RawServer::receive(int fd) {
  const ssize_t size = ::recv(fd, buffer_.data(), buffer_.size(), 0);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size <= 0) return drop(fd);
  received(fd, std::span(buffer_).first(static_cast<std::size_t>(size)));
}

void RawServer::answer(int fd, std::span<const char> bytes) {
  const ssize_t sent = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (sent == static_cast<ssize_t>(bytes.size())) return;
  if (sent < 0 && errno != EAGAIN) return drop(fd);
  // Nothing more is read until the peer has taken this: the backlog is one answer at most.
  const std::span rest = bytes.subspan(static_cast<std::size_t>(sent < 0 ? 0 : sent));
  backlog_[fd].assign(rest.begin(), rest.end());
  watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

void RawServer::drain(int fd) {
  std::vector<char>& rest = backlog_[fd];
  const ssize_t sent = ::send(fd, rest.data(), rest.size(), MSG_NOSIGNAL);
  if (sent < 0 && errno == EAGAIN) return;
  if (sent < 0) return drop(fd);
  rest.erase(rest.begin(), rest.begin() + sent);
  if (!rest.empty()) return;
  backlog_.erase(fd);
  watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

void RawServer::drop(int fd) {
  backlog_.erase(fd);
  closing(fd);
  ::close(fd);
}

std::uint16_t portArgument(int argc, char** argv) {
  constexpr long kGreatest = 65'535;
  const long port = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 0;
  if (argc <= 2 && port >= 0 && port <= kGreatest) return static_cast<std::uint16_t>(port);
  std::fprintf(stderr, "usage: %s [PORT]\n", argv[0]);
  std::exit(2);
}

}  // namespace ioloop::bench
