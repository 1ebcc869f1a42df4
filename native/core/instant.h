#pragma once

#include <chrono>
#include <cstdint>
#include <ctime>
#include <limits>
#include <optional>

namespace ioloop {

/** CLOCK_MONOTONIC in nanoseconds: never set, never stepped (clock_gettime(2)). */
struct MonotonicClock {
  using duration = std::chrono::nanoseconds;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicClock>;
  static constexpr bool is_steady = true;
};

/** A point on the monotonic clock. */
using Instant = MonotonicClock::time_point;

/** How long a wait may last; nothing: until something happens. */
using Timeout = std::optional<std::chrono::nanoseconds>;

/** A deadline nobody lives to see, 292 years after boot: what a longer delay is cut to. */
inline constexpr Instant kNever = Instant::max();

/** `duration` in whole milliseconds, rounded up, at most INT_MAX (for poll(2) and epoll_wait(2)).
 */
constexpr int ceilMilliseconds(std::chrono::nanoseconds duration) noexcept {
  if (duration.count() <= 0) return 0;
  const auto whole = std::chrono::ceil<std::chrono::milliseconds>(duration).count();
  return whole > std::numeric_limits<int>::max() ? std::numeric_limits<int>::max()
                                                 : static_cast<int>(whole);
}

/** `duration` as the kernel takes it; negative durations are zero. */
constexpr timespec toTimespec(std::chrono::nanoseconds duration) noexcept {
  const auto count = duration.count() < 0 ? 0 : duration.count();
  timespec spec{};
  spec.tv_sec = static_cast<decltype(spec.tv_sec)>(count / 1'000'000'000);
  spec.tv_nsec = static_cast<decltype(spec.tv_nsec)>(count % 1'000'000'000);
  return spec;
}

}  // namespace ioloop
