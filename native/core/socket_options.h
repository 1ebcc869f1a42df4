#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/result.h"

namespace ioloop {

/** One option of setsockopt(2) by the name that its man page gives it. */
struct SocketOption {
  enum class Kind : std::uint8_t { integer, linger, string };

  std::string_view name;
  int level;
  int number;
  Kind kind;
};

/** The option called `name` ("SO_RCVBUF"), nullptr when this system's headers have none. */
const SocketOption* findSocketOption(std::string_view name) noexcept;

/** setsockopt(2). */
Status setSocketOption(int fd, int level, int number, std::span<const std::byte> value) noexcept;
/** getsockopt(2): how many bytes of `target` it filled. */
Result<std::size_t> getSocketOption(int fd, int level, int number,
                                    std::span<std::byte> target) noexcept;

}  // namespace ioloop
