#pragma once

#include <cstdint>

#include "core/result.h"
#include "core/waker.h"

namespace ioloop {

/**
 * The process's wakers by id: how one thread reaches the loop of another without ever touching a
 * descriptor number that may have come to mean another file. Every function: any thread.
 */
class WakerRegistry {
 public:
  /** Makes a waker and returns its id, never 0. Ids come round after 2^31 of them. */
  static Result<std::uint32_t> create() noexcept;
  /** Wakes; false when there is no such waker any more. */
  static bool wake(std::uint32_t id) noexcept;
  /** Takes the wakes so far, before the callback is called. */
  static void drain(std::uint32_t id) noexcept;
  /** The descriptor to watch for read; -1: gone. */
  static int fd(std::uint32_t id) noexcept;
  /** The descriptor for foreign code to write the eight-byte integer 1 to; -1: gone. */
  static int writeFd(std::uint32_t id) noexcept;
  static void close(std::uint32_t id) noexcept;
};

}  // namespace ioloop
