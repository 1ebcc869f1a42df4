#pragma once

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cstddef>
#include <span>
#include <vector>

namespace ioloop::bench {

/**
 * The limit that a server of datagrams is held against: one thread, epoll(7) level-triggered, one
 * recvmmsg(2) of up to 64 for a ready socket, one sendmmsg(2) for their answers.
 */
class RawDatagramServer {
 public:
  /** Serves `fd`, which is bound and does not block. Ends the process when it cannot. */
  explicit RawDatagramServer(int fd);
  virtual ~RawDatagramServer() = default;
  RawDatagramServer(const RawDatagramServer&) = delete;
  RawDatagramServer& operator=(const RawDatagramServer&) = delete;

  /** Prints where it is and serves until SIGTERM or SIGINT. */
  void run();

 protected:
  /** Takes what one receive brought: `msg_len` bytes each, valid during the call. */
  virtual void received(std::span<mmsghdr> messages) = 0;

  /** Sends each message back to where its name says. What the kernel does not take is lost. */
  void answer(std::span<mmsghdr> messages);

 private:
  static constexpr std::size_t kMost = 64;
  /** The longest datagram, and a cache line more: slots do not fall on the same sets of the cache.
   */
  static constexpr std::size_t kSlotSize = std::size_t{64} * 1024 + 64;

  void receive();

  int fd_;
  int signals_;
  int set_;
  std::vector<std::byte> slots_;
  std::array<sockaddr_storage, kMost> names_{};
  std::array<iovec, kMost> bytes_{};
  std::array<mmsghdr, kMost> messages_{};
};

}  // namespace ioloop::bench
