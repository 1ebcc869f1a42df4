#pragma once

#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace ioloop::bench {

/**
 * Messages of one size, sent and received by a connected socket many in a system call: sendmmsg(2),
 * recvmmsg(2). One batch serves all sockets, one after the other.
 */
class MessageBatch {
 public:
  /** Most messages of a system call. */
  static constexpr std::size_t kMost = 64;

  explicit MessageBatch(std::size_t size);

  /** Adds a message to what send() sends, kMost at most; its bytes have to stay until then. */
  void add(std::span<const std::byte> message) noexcept;

  /** Sends what was added, waiting where there is no room. False: errno says why not. */
  bool send(int fd) noexcept;

  /** Receives what is there, without waiting: none where nothing is. Negative: errno says why. */
  int receive(int fd) noexcept;

  /** A message of the last receive(); one byte longer than it may be where it was too long. */
  std::span<const std::byte> operator[](std::size_t index) const noexcept;

 private:
  std::size_t slotSize_;
  std::vector<std::byte> received_;
  std::array<iovec, kMost> slots_{};
  std::array<mmsghdr, kMost> arrivals_{};
  std::array<iovec, kMost> bytes_{};
  std::array<mmsghdr, kMost> departures_{};
  std::size_t added_ = 0;
};

}  // namespace ioloop::bench
