#include "raw_server.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "raw_socket.h"

namespace ioloop::bench {
namespace {

void raiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

RawServer::RawServer(int listener)
    : set_(::epoll_create1(EPOLL_CLOEXEC)), listener_(listener), signals_(watchSignals()) {
  if (set_ < 0) endAfter("epoll_create1");
  raiseDescriptorLimit();
  watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
  watch(EPOLL_CTL_ADD, signals_, EPOLLIN);
}

void RawServer::run() {
  announce(listener_);
  for (;;) {
    const int count = ::epoll_wait(set_, events_.data(), static_cast<int>(events_.size()), -1);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) endAfter("epoll_wait");
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
  if (::epoll_ctl(set_, operation, fd, &event) < 0) endAfter("epoll_ctl");
}

void RawServer::acceptAll() {
  for (;;) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && (errno == EAGAIN || errno == ECONNABORTED)) return;
    if (fd < 0) endAfter("accept4");
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
