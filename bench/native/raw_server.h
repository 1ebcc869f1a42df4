#pragma once

#include <sys/epoll.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

namespace ioloop::bench {

/**
 * The limit that a server is held against: one thread, epoll(7) level-triggered, accept4, one recv
 * for a ready connection, one send for its answer, and nothing between them.
 */
class RawServer {
 public:
  /** Serves what `listener` accepts. Ends the process when it cannot. */
  explicit RawServer(int listener);
  virtual ~RawServer() = default;
  RawServer(const RawServer&) = delete;
  RawServer& operator=(const RawServer&) = delete;

  /** Prints where it listens and serves until SIGTERM or SIGINT. */
  void run();

 protected:
  /** Answers what one recv brought; `bytes` are valid during the call. */
  virtual void received(int fd, std::span<const char> bytes) = 0;

  /** Forgets what is kept of a connection that is about to be closed. */
  virtual void closing(int fd) { static_cast<void>(fd); }

  /** Sends an answer, once in `received`; what the kernel does not take follows when it can. */
  void answer(int fd, std::span<const char> bytes);

 private:
  void watch(int operation, int fd, std::uint32_t interest);
  void acceptAll();
  void receive(int fd);
  void drain(int fd);
  void drop(int fd);

  int set_;
  int listener_;
  int signals_;
  std::array<epoll_event, 256> events_{};
  std::array<char, std::size_t{64} * 1024> buffer_{};
  std::unordered_map<int, std::vector<char>> backlog_;
};

/**
 * The port that the command line asks for, 0 by default: `PROGRAM [PORT]`. Ends the process with
 * status 2 when it makes no sense.
 */
std::uint16_t portArgument(int argc, char** argv);

}  // namespace ioloop::bench
