#pragma once

#include <cstdint>

namespace ioloop {

/**
 * What a descriptor is watched for, and what it turned out to be ready for.
 *
 * read, write and priority are asked for and reported; error and hangup are reported whether asked
 * for or not; edge, oneShot and exclusive are only asked for, and are refused (ENOTSUP) by a
 * backend whose system has no such mode.
 */
enum class Ready : std::uint32_t {
  none = 0,
  read = 1,
  write = 2,
  priority = 4,
  error = 8,
  hangup = 16,
  edge = 32,
  oneShot = 64,
  exclusive = 128,
};

constexpr Ready operator|(Ready a, Ready b) noexcept {
  return static_cast<Ready>(static_cast<std::uint32_t>(a) | static_cast<std::uint32_t>(b));
}
constexpr Ready operator&(Ready a, Ready b) noexcept {
  return static_cast<Ready>(static_cast<std::uint32_t>(a) & static_cast<std::uint32_t>(b));
}
constexpr Ready operator~(Ready a) noexcept {
  return static_cast<Ready>(~static_cast<std::uint32_t>(a));
}
constexpr Ready& operator|=(Ready& a, Ready b) noexcept { return a = a | b; }

/** Whether `set` holds any bit of `bits`. */
constexpr bool has(Ready set, Ready bits) noexcept { return (set & bits) != Ready::none; }

/** The bits that say what a descriptor can be watched for, without the modes. */
inline constexpr Ready kInterests = Ready::read | Ready::write | Ready::priority;
/** The bits that say how a descriptor is watched. */
inline constexpr Ready kModes = Ready::edge | Ready::oneShot | Ready::exclusive;
/** The bits that are reported whether asked for or not. */
inline constexpr Ready kAlwaysReported = Ready::error | Ready::hangup;

/** One descriptor's readiness, as Backend::wait reports it. */
struct Event {
  /** Stands in `fd` when the event belongs to a registration that `update` no longer knows. */
  static constexpr int kOrphan = -1;

  int fd;
  Ready ready;
};

}  // namespace ioloop
