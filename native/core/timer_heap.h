#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/instant.h"

namespace ioloop {

/** Names one timer of one heap. Small and dense, so that a caller can index a table by it. */
using TimerId = std::uint32_t;

/**
 * Timers ordered by deadline, equal deadlines by the order they were made: a 4-ary heap on
 * (deadline, sequence).
 *
 * Each timer knows its place, so cancel and reschedule are O(log n) and free the place at once:
 * there is no garbage to sweep. The heap never reads a clock; whoever asks says what time it is.
 *
 * A timer that popDue() returned keeps its id until it is released or rescheduled, so an id cannot
 * come to mean another timer while a batch of due ones is worked through.
 */
class TimerHeap {
 public:
  /** Makes a timer that is due at `deadline`. */
  TimerId schedule(Instant deadline);

  /**
   * Makes a timer under an id of the caller's, or gives the one that has it a new deadline. A
   * heap's ids are either all the caller's or all its own; the caller's should be dense.
   */
  void put(TimerId id, Instant deadline);

  /** Ends the timer of the caller's `id`; false when none is pending. */
  bool remove(TimerId id) noexcept;

  /** Gives `id`, pending or fired, a new deadline; its place among equals is that of a new one. */
  void reschedule(TimerId id, Instant deadline);

  /** Ends `id`, pending or fired; the id may be used again for the next timer. */
  void release(TimerId id) noexcept;

  /** Moves ids that are due at `now` into `due`, earliest first. Returns how many. */
  std::size_t popDue(Instant now, std::span<TimerId> due) noexcept;

  /** The deadline that comes next, nothing when no timer is pending. */
  std::optional<Instant> earliest() const noexcept;

  /** Whether `id` waits for its deadline. */
  bool pending(TimerId id) const noexcept;

  /** How many timers wait for their deadline. */
  std::size_t size() const noexcept { return size_; }

 private:
  struct Entry {
    Instant deadline;
    std::uint32_t sequence = 0;
    TimerId id = 0;

    bool before(const Entry& other) const noexcept {
      if (deadline != other.deadline) return deadline < other.deadline;
      // Modulo 2^32: right for any two that were made within two thousand million of each other.
      return static_cast<std::int32_t>(sequence - other.sequence) < 0;
    }
  };
  static constexpr std::size_t kArity = 4;
  /** Four siblings share one cache line, so that a level costs one miss. */
  struct alignas(64) Siblings {
    Entry entries[kArity];
  };
  static_assert(sizeof(Siblings) == 64);

  static constexpr std::size_t parentOf(std::size_t index) noexcept { return (index - 1) / kArity; }
  static constexpr std::size_t firstChildOf(std::size_t index) noexcept {
    return index * kArity + 1;
  }
  /** The root, index 0, stands last in a line of its own, so that its children begin the next. */
  Entry& at(std::size_t index) noexcept {
    return lines_[(index + kArity - 1) / kArity].entries[(index + kArity - 1) % kArity];
  }
  const Entry& at(std::size_t index) const noexcept {
    return lines_[(index + kArity - 1) / kArity].entries[(index + kArity - 1) % kArity];
  }
  void place(std::size_t index, const Entry& entry) noexcept;
  void siftUp(std::size_t index, Entry entry) noexcept;
  void siftDown(std::size_t index, Entry entry) noexcept;
  void removeAt(std::size_t index) noexcept;

  std::vector<Siblings> lines_;
  std::size_t size_ = 0;
  std::vector<std::uint32_t> places_;  // by id: its index in the heap, or that it has none
  std::vector<TimerId> free_;
  std::uint32_t nextSequence_ = 0;
};

}  // namespace ioloop
