#pragma once

#include <sys/socket.h>

#include <optional>
#include <string_view>

#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop::bench {

/** The server's address: 127.0.0.1:8000, [::1]:8000, /a/path or @an-abstract-name. */
class Target {
 public:
  /** Nothing when `text` is none of these; hosts are literals, no name is looked up. */
  static std::optional<Target> parse(std::string_view text) noexcept;

  /**
   * Connects, blocking. Connections to 127.0.0.0/8 leave from a source address chosen by `index`,
   * so that short ones do not run out of ports while the closed wait in TIME_WAIT.
   */
  Result<UniqueFd> connect(std::size_t index) const noexcept { return open(index, 0); }

  /** The same without waiting: the descriptor does not block, and is writable once connected. */
  Result<UniqueFd> startConnect(std::size_t index) const noexcept {
    return open(index, SOCK_NONBLOCK);
  }

  /**
   * Connects a socket of a type that keeps message borders, blocking. A Unix datagram socket gets a
   * name of its own, or nobody could answer it.
   */
  Result<UniqueFd> connectMessages(int type) const noexcept;

  /** Whether messages to it may get lost: not in the Unix domain (unix(7)). */
  bool mayLose() const noexcept { return address_.ss_family != AF_UNIX; }

 private:
  Result<UniqueFd> open(std::size_t index, int flags) const noexcept;
  static std::optional<Target> parseUnix(std::string_view path) noexcept;
  static std::optional<Target> parseInet(std::string_view text) noexcept;
  Status bindSource(int fd, std::size_t index) const noexcept;

  sockaddr_storage address_{};
  socklen_t size_ = 0;
};

}  // namespace ioloop::bench
