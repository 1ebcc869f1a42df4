#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "core/sim/seeded_random.h"
#include "core/sys.h"

namespace ioloop {

/** The faults of one entry of the system-call table, and what became of its calls. */
class EntryFaults {
 public:
  /** The `k`-th call from now, 1 being the next, fails with `code`; once. */
  void failCall(std::uint64_t k, int code) noexcept;
  /**
   * Each call fails with `code` with `probability`; 0 ends it. Up to kMostCodes codes at a time,
   * with probabilities that come to 1 at most; one code too many takes the place of the first.
   */
  void failRandomly(double probability, int code) noexcept;
  /** Each call moves only some of its bytes with `probability`: read, write, recv and their kin. */
  void shortenRandomly(double probability) noexcept { shortenBelow_ = threshold(probability); }
  /** Each call returns its ready list in another order with `probability`: epoll_wait. */
  void reorderRandomly(double probability) noexcept { reorderBelow_ = threshold(probability); }
  /**
   * Each call that leaves room reports an event of an earlier one again with `probability`,
   * although nothing may be ready any more: epoll_wait.
   */
  void repeatRandomly(double probability) noexcept { repeatBelow_ = threshold(probability); }

  /** Calls made, faults included. */
  std::uint64_t calls() const noexcept { return calls_; }
  /** Calls failed, shortened, reordered, or given an event that was none. */
  std::uint64_t faults() const noexcept { return faults_; }

  /** As before the first call, without faults. */
  void reset() noexcept;

  // For the table's entries. Async-signal-safe, from any thread.
  /** Counts a call; the errno it has to fail with, 0 for none. */
  int next(SeededRandom& random) noexcept;
  /** How many of `size` bytes this call may move. */
  std::size_t shorten(std::size_t size, SeededRandom& random) noexcept;
  /** Whether this call's ready list is to be shuffled. */
  bool reorders(SeededRandom& random) noexcept { return counted(reorderBelow_, random); }
  /** Whether this call's ready list is to have an event that is none. */
  bool repeats(SeededRandom& random) noexcept { return counted(repeatBelow_, random); }

  static constexpr std::size_t kMostCodes = 4;

 private:
  struct RandomFailure {
    std::atomic<int> code{0};
    std::atomic<std::uint64_t> below{0};
  };

  /** A probability as the number that 53 random bits have to be below. */
  static std::uint64_t threshold(double probability) noexcept {
    return static_cast<std::uint64_t>(probability * 0x1p53);
  }
  static bool drawn(const std::atomic<std::uint64_t>& below, SeededRandom& random) noexcept {
    const std::uint64_t bound = below.load(std::memory_order_relaxed);
    return bound != 0 && (random.next() >> 11) < bound;
  }
  bool counted(const std::atomic<std::uint64_t>& below, SeededRandom& random) noexcept;
  int drawFailure(SeededRandom& random) const noexcept;

  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> faults_{0};
  std::atomic<std::uint64_t> failAt_{0};  // the call's number, 0 for none
  std::atomic<int> failAtCode_{0};
  std::array<RandomFailure, kMostCodes> failures_;
  std::atomic<bool> failsRandomly_{false};
  std::atomic<std::uint64_t> shortenBelow_{0};
  std::atomic<std::uint64_t> reorderBelow_{0};
  std::atomic<std::uint64_t> repeatBelow_{0};
};

/**
 * Puts faults between core and the system calls, for as long as it lives.
 *
 *     FaultInjector faults(seed);
 *     faults.on<&SysTable::recv>().failRandomly(0.1, EAGAIN);
 *     faults.on<&SysTable::send>().failCall(3, ECONNRESET);
 *
 * It wraps the table in force when it is made, and puts that back. One at a time; nothing else is
 * installed while it lives, and no thread is inside a call when it goes. A failed call never
 * reaches the system, but for close(2), which frees the number whatever it answers (close(2),
 * "Dealing with error returns").
 *
 * Each thread draws from a sequence of its own, made from the seed and the order in which threads
 * make their first call; seedThread() fixes it where the order is left to chance.
 */
class FaultInjector {
 public:
  explicit FaultInjector(std::uint64_t seed);
  ~FaultInjector();
  FaultInjector(const FaultInjector&) = delete;
  FaultInjector& operator=(const FaultInjector&) = delete;

  /** The faults of an entry, named by the table's member. */
  template <auto Entry>
  EntryFaults& on() noexcept {
    return faultsOf<Entry>;
  }

  /** The faults of the entry of that name ("recv", "accept4" ...); nullptr: it has none. */
  static EntryFaults* find(std::string_view name) noexcept;

  /** Has the calling thread draw from sequence `index` of this injector, from its start. */
  void seedThread(std::uint64_t index) noexcept;

  /** One for each entry of the table; there is one injector at a time. */
  template <auto Entry>
  static inline EntryFaults faultsOf{};

 private:
  const SysTable& before_;
  SysTable table_;
};

}  // namespace ioloop
