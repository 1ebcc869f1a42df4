#pragma once

#include <chrono>
#include <cmath>
#include <cstdint>

#include "core/instant.h"

namespace ioloop {

/** JavaScript's milliseconds as nanoseconds, rounded up so that nothing is early. */
inline std::chrono::nanoseconds fromMilliseconds(double milliseconds) noexcept {
  const double count = std::ceil(milliseconds * 1e6);
  if (!(count > 0)) return std::chrono::nanoseconds{0};
  // 2^62: far enough below the most for a sum with the clock.
  constexpr double kMost = 4611686018427387904.0;
  return std::chrono::nanoseconds{static_cast<std::int64_t>(count < kMost ? count : kMost)};
}

inline double toMilliseconds(std::chrono::nanoseconds duration) noexcept {
  return static_cast<double>(duration.count()) / 1e6;
}

/** The instant at `whenMs` on the monotonic clock; Infinity is never. */
inline Instant instantAt(double whenMs) noexcept {
  return std::isinf(whenMs) && whenMs > 0 ? kNever : Instant{fromMilliseconds(whenMs)};
}

}  // namespace ioloop
