#include "raw_datagram_server.h"

#include <cerrno>

#include "raw_socket.h"

namespace ioloop::bench {

RawDatagramServer::RawDatagramServer(int fd)
    : fd_(fd),
      signals_(watchSignals()),
      set_(::epoll_create1(EPOLL_CLOEXEC)),
      slots_(kMost * kSlotSize) {
  if (set_ < 0) endAfter("epoll_create1");
  for (const int watched : {fd_, signals_}) {
    epoll_event event{.events = EPOLLIN, .data = {.fd = watched}};
    if (::epoll_ctl(set_, EPOLL_CTL_ADD, watched, &event) < 0) endAfter("epoll_ctl");
  }
  for (std::size_t i = 0; i < kMost; ++i) {
    bytes_[i].iov_base = slots_.data() + i * kSlotSize;
    messages_[i].msg_hdr.msg_iov = &bytes_[i];
    messages_[i].msg_hdr.msg_iovlen = 1;
    messages_[i].msg_hdr.msg_name = &names_[i];
  }
}

void RawDatagramServer::run() {
  announce(fd_);
  for (;;) {
    std::array<epoll_event, 2> events{};
    const int count = ::epoll_wait(set_, events.data(), static_cast<int>(events.size()), -1);
    if (count < 0 && errno != EINTR) endAfter("epoll_wait");
    for (int i = 0; i < count; ++i) {
      if (events[static_cast<std::size_t>(i)].data.fd == signals_) return;
      receive();
    }
  }
}

void RawDatagramServer::receive() {
  for (std::size_t i = 0; i < kMost; ++i) {
    bytes_[i].iov_len = kSlotSize;
    messages_[i].msg_hdr.msg_namelen = sizeof names_[i];
  }
  const int count = ::recvmmsg(fd_, messages_.data(), kMost, MSG_DONTWAIT, nullptr);
  // Errors are those of datagrams sent before: who sent them has gone.
  if (count > 0) received(std::span(messages_).first(static_cast<std::size_t>(count)));
}

void RawDatagramServer::answer(std::span<mmsghdr> messages) {
  for (const mmsghdr& message : messages) message.msg_hdr.msg_iov->iov_len = message.msg_len;
  while (!messages.empty()) {
    const int sent = ::sendmmsg(fd_, messages.data(), static_cast<unsigned>(messages.size()),
                                MSG_DONTWAIT | MSG_NOSIGNAL);
    // The first one was refused: the others may not be.
    messages = messages.subspan(sent < 0 ? 1 : static_cast<std::size_t>(sent));
  }
}

}  // namespace ioloop::bench
