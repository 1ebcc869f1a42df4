#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/** A listener on a free port of the loopback; both stacks have one. */
Result<UniqueFd> listenLoopback(const char* host = "127.0.0.1");

/** The two ends of a connection. */
struct Connection {
  UniqueFd client;
  UniqueFd server;
};
Result<Connection> connectTo(int listener);
/** A TCP connection to ourselves. */
Result<Connection> connectLoopback(const char* host = "127.0.0.1");

/** Whether `fd` became ready for `events` (poll(2)) within five seconds. */
bool ready(int fd, short events);

inline std::span<const std::byte> bytesOf(const std::string& text) {
  return std::as_bytes(std::span(text));
}
/** What arrives at `fd` next, "" at the end of the stream. */
std::string receive(int fd);

bool isNonBlocking(int fd);
bool isCloseOnExec(int fd);

/** A directory of its own, gone with everything in it at the end of the test. */
class ScratchDirectory {
 public:
  ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  ~ScratchDirectory();
  explicit operator bool() const { return made_; }
  /** The path of a file there, which need not exist. */
  std::string file(const std::string& name);
  /** A file with `content`; its path. */
  std::string write(const std::string& name, const std::string& content);

 private:
  std::array<char, 32> path_{"/tmp/ioloop-test-XXXXXX"};
  bool made_ = false;
  std::vector<std::string> files_;
};

}  // namespace ioloop
