#pragma once

#include <netinet/in.h>

#include <cstdint>
#include <optional>

#include "core/unique_fd.h"

namespace ioloop::bench {

/**
 * The server's end of a TCP connection on this machine, as the kernel sees it: sock_diag(7), one
 * question and one answer for this connection alone. The server notices nothing.
 */
class ServerEnd {
 public:
  /** The other end of `fd`, a connected IPv4 socket. Nothing when the kernel cannot be asked. */
  static std::optional<ServerEnd> of(int fd) noexcept;

  /** Whether the server has read all of the first `bytes` bytes. Nothing when the end is gone. */
  std::optional<bool> hasRead(std::uint64_t bytes) const noexcept;

 private:
  ServerEnd(UniqueFd diagnostics, const sockaddr_in& server, const sockaddr_in& client) noexcept
      : diagnostics_(std::move(diagnostics)), server_(server), client_(client) {}

  UniqueFd diagnostics_;
  sockaddr_in server_;
  sockaddr_in client_;
};

}  // namespace ioloop::bench
