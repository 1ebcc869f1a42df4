#pragma once

#include <sys/types.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>

namespace ioloop::bench {

/** Latencies by logarithmic buckets, 128 to a doubling: any percentile within 0.8 %. */
class Histogram {
 public:
  void add(std::chrono::nanoseconds latency, std::size_t count) noexcept;
  void clear() noexcept;

  /** The latency that `share` (0 to 1) of all samples do not exceed, in microseconds. */
  double percentileUs(double share) const noexcept;
  double maxUs() const noexcept { return static_cast<double>(max_) / 1e3; }

 private:
  static constexpr unsigned kBits = 7;
  static std::size_t bucketOf(std::uint64_t nanoseconds) noexcept;
  static std::uint64_t lowest(std::size_t bucket) noexcept;

  std::array<std::uint64_t, (64 - kBits + 1) << kBits> buckets_{};
  std::uint64_t total_ = 0;
  std::uint64_t max_ = 0;
};

/** The CPU time, user and system, of all threads of a process since it began. */
class CpuClock {
 public:
  /** Nothing when there is no such process; see clock_getcpuclockid(3). */
  static std::optional<CpuClock> of(pid_t process) noexcept;
  static CpuClock own() noexcept { return CpuClock(CLOCK_PROCESS_CPUTIME_ID); }

  /** Nothing when the process has ended. */
  std::optional<std::chrono::nanoseconds> now() const noexcept;

 private:
  explicit CpuClock(clockid_t id) noexcept : id_(id) {}

  clockid_t id_;
};

/**
 * The same in the kernel's own split, from /proc/<pid>/stat: whole clock ticks (10 ms), so it says
 * where the time went, while CpuClock says how much it was.
 */
struct CpuSplit {
  std::uint64_t userTicks = 0;
  std::uint64_t systemTicks = 0;

  static std::optional<CpuSplit> of(pid_t process) noexcept;
};

}  // namespace ioloop::bench
