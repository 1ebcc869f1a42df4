#pragma once

#include <atomic>
#include <cstdint>

namespace ioloop {

/** What the streams of this process hold in memory, in all its threads, and the limit on it. */
class MemoryBudget {
 public:
  static MemoryBudget& ofProcess() noexcept {
    static constinit MemoryBudget budget;
    return budget;
  }

  /** In bytes; 0: none set. The budget refuses nothing: its holders keep to it. */
  std::int64_t limit() const noexcept { return limit_.load(std::memory_order_relaxed); }
  void setLimit(std::int64_t bytes) noexcept { limit_.store(bytes, std::memory_order_relaxed); }

  /** Adds `bytes`, or takes them away where negative. The new total. */
  std::int64_t add(std::int64_t bytes) noexcept {
    return held_.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  }

 private:
  std::atomic<std::int64_t> limit_{0};
  std::atomic<std::int64_t> held_{0};
};

}  // namespace ioloop
