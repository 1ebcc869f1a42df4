#include "message_batch.h"

#include <cerrno>

namespace ioloop::bench {

MessageBatch::MessageBatch(std::size_t size) : slotSize_(size + 1), received_(kMost * slotSize_) {
  for (std::size_t i = 0; i < kMost; ++i) {
    slots_[i] = {.iov_base = received_.data() + i * slotSize_, .iov_len = slotSize_};
    arrivals_[i].msg_hdr.msg_iov = &slots_[i];
    arrivals_[i].msg_hdr.msg_iovlen = 1;
    departures_[i].msg_hdr.msg_iov = &bytes_[i];
    departures_[i].msg_hdr.msg_iovlen = 1;
  }
}

void MessageBatch::add(std::span<const std::byte> message) noexcept {
  // The kernel only reads what is sent; iovec knows no const.
  bytes_[added_++] = {.iov_base = const_cast<std::byte*>(message.data()),
                      .iov_len = message.size()};
}

bool MessageBatch::send(int fd) noexcept {
  std::span<mmsghdr> left = std::span(departures_).first(added_);
  added_ = 0;
  while (!left.empty()) {
    const int sent = ::sendmmsg(fd, left.data(), static_cast<unsigned>(left.size()), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) return false;
    left = left.subspan(static_cast<std::size_t>(sent));
  }
  return true;
}

int MessageBatch::receive(int fd) noexcept {
  const int count = ::recvmmsg(fd, arrivals_.data(), kMost, MSG_DONTWAIT, nullptr);
  return count < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : count;
}

std::span<const std::byte> MessageBatch::operator[](std::size_t index) const noexcept {
  return std::span(received_).subspan(index * slotSize_, arrivals_[index].msg_len);
}

}  // namespace ioloop::bench
