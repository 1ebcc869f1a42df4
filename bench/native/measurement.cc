#include "measurement.h"

#include <fcntl.h>
#include <unistd.h>

#include <bit>
#include <cinttypes>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "core/unique_fd.h"

namespace ioloop::bench {

std::size_t Histogram::bucketOf(std::uint64_t nanoseconds) noexcept {
  const auto width = static_cast<unsigned>(std::bit_width(nanoseconds));
  if (width <= kBits + 1) return static_cast<std::size_t>(nanoseconds);
  const unsigned shift = width - kBits - 1;
  return (std::size_t{shift} << kBits) + static_cast<std::size_t>(nanoseconds >> shift);
}

std::uint64_t Histogram::lowest(std::size_t bucket) noexcept {
  if (bucket < (std::size_t{2} << kBits)) return bucket;
  const std::size_t shift = (bucket >> kBits) - 1;
  return std::uint64_t{bucket - (shift << kBits)} << shift;
}

void Histogram::add(std::chrono::nanoseconds latency, std::size_t count) noexcept {
  const auto nanoseconds = static_cast<std::uint64_t>(latency.count() < 0 ? 0 : latency.count());
  buckets_[bucketOf(nanoseconds)] += count;
  total_ += count;
  if (nanoseconds > max_) max_ = nanoseconds;
}

void Histogram::clear() noexcept {
  buckets_.fill(0);
  total_ = 0;
  max_ = 0;
}

double Histogram::percentileUs(double share) const noexcept {
  const auto rank = static_cast<std::uint64_t>(std::ceil(share * static_cast<double>(total_)));
  std::uint64_t seen = 0;
  for (std::size_t bucket = 0; bucket < buckets_.size(); ++bucket) {
    seen += buckets_[bucket];
    if (seen >= rank && seen > 0) return static_cast<double>(lowest(bucket)) / 1e3;
  }
  return 0;
}

std::optional<CpuClock> CpuClock::of(pid_t process) noexcept {
  clockid_t id{};
  if (::clock_getcpuclockid(process, &id) != 0) return std::nullopt;
  return CpuClock(id);
}

std::optional<std::chrono::nanoseconds> CpuClock::now() const noexcept {
  timespec time{};
  if (::clock_gettime(id_, &time) != 0) return std::nullopt;
  return std::chrono::seconds{time.tv_sec} + std::chrono::nanoseconds{time.tv_nsec};
}

std::optional<CpuSplit> CpuSplit::of(pid_t process) noexcept {
  std::array<char, 64> path{};
  std::snprintf(path.data(), path.size(), "/proc/%d/stat", process);
  const UniqueFd file(::open(path.data(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::nullopt;
  std::array<char, 1024> text{};  // stays terminated: one byte is never read into
  if (::read(file.get(), text.data(), text.size() - 1) <= 0) return std::nullopt;
  // The second field is the program's name in parentheses and may hold anything, these included:
  // fields are counted from the last one (proc_pid_stat(5)).
  const char* afterName = std::strrchr(text.data(), ')');
  if (afterName == nullptr) return std::nullopt;
  CpuSplit split;
  const int fields = std::sscanf(
      afterName + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64,
      &split.userTicks, &split.systemTicks);
  return fields == 2 ? std::optional(split) : std::nullopt;
}

}  // namespace ioloop::bench
