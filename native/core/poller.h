#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/backends.h"
#include "core/timer_heap.h"
#include "core/unique_fd.h"
#include "core/waker.h"

namespace ioloop {

/** Tells one registration of a descriptor number from the next. Never 0. */
using Generation = std::uint32_t;

/** One row of the ready table; the three 32-bit words that TypeScript reads. */
struct ReadyRow {
  int fd;
  Ready ready;
  Generation generation;
};
static_assert(sizeof(ReadyRow) == 12);

/** What a turn fills: who is ready and which timers are due. */
struct TurnTables {
  std::span<ReadyRow> ready;
  std::span<TimerId> due;
};

/** How much of the tables a turn has filled. */
struct TurnCounts {
  std::size_t ready = 0;
  std::size_t due = 0;
  /** Why the wait failed and found nothing; success otherwise. Timers are due all the same. */
  Status wait{};
};

/** What a poller has done so far, and holds now. */
struct PollerCounters {
  std::uint64_t polls = 0;
  std::uint64_t events = 0;
  std::uint64_t orphanEvents = 0;
  std::uint64_t wakes = 0;
  std::uint64_t wakeUps = 0;  // polls that found something
  std::uint64_t rebuilds = 0;
  std::uint64_t timersFired = 0;
  std::uint64_t systemCalls = 0;
};

/**
 * One loop's view of the kernel: a backend, the table of who watches what, timers and a waker.
 *
 * The table is the one place that decides what is watched. Each registration has a generation, and
 * a row of the ready table carries the one it belongs to: isCurrent() tells whether the
 * registration still stands when its turn comes, so that an event of a handler removed, replaced
 * or whose number was reused within the batch reaches nobody.
 *
 * One thread at a time, wake() excepted.
 */
class Poller {
 public:
  /** `now` is the clock that deadlines are held against. */
  using ClockReader = std::function<Instant()>;
  /** Makes the backend, and makes it anew when the set has to be rebuilt. */
  using MakeBackend = std::function<Result<std::unique_ptr<Backend>>()>;

  static Result<std::unique_ptr<Poller>> create(MakeBackend makeBackend,
                                                ClockReader now = monotonicNow) noexcept;

  std::string_view backendName() const noexcept { return backend_->name(); }
  Instant now() const { return now_(); }

  /**
   * Watches `fd`, which stays the caller's. EEXIST when it is watched already, unless the number
   * was closed and reused since; then the old registration is gone. interest none only holds the
   * place.
   */
  Result<Generation> add(int fd, Ready interest) noexcept;
  /** Changes the interest. none pauses: no event comes, hang-ups included. ENOENT: unknown. */
  Status modify(int fd, Ready interest) noexcept;
  /** Forgets `fd`, closed or not. Returns whether it was known. */
  bool remove(int fd) noexcept;
  /**
   * remove() of a descriptor that is closed right afterwards: no system call where the backend
   * forgets it then. A duplicate that keeps the file alive goes on reporting, as an orphan.
   */
  bool forget(int fd) noexcept;

  /** Whether `row` still means the registration it was filled for. */
  bool isCurrent(const ReadyRow& row) const noexcept;

  /**
   * Waits at most `timeout`, shortened to the next deadline, then fills the tables: descriptors
   * that are ready, and timers that are due by a clock read once, after the wait.
   */
  TurnCounts turn(const TurnTables& tables, Timeout timeout) noexcept;

  TimerHeap& timers() noexcept { return timers_; }
  const TimerHeap& timers() const noexcept { return timers_; }

  /** From this many timers on, those that come due close together share a wake-up. */
  static constexpr std::size_t kManyTimers = 1000;
  /** How far apart wake-ups for timers then are. No timer is early, none later than this. */
  static constexpr std::chrono::milliseconds kTimerSpacing{1};

  /**
   * Until the next wake-up for a timer: 0 when its time has passed, nothing when there is none.
   * With kManyTimers pending it is at least kTimerSpacing after the last that fired all who were
   * due.
   */
  Timeout untilDeadline() const noexcept;

  /**
   * Sees to it that pollableFd() is readable when the earliest deadline comes. A system call only
   * where that is sooner than what is armed, or the armed one has passed; a cancelled deadline
   * stays armed, at the cost of one empty wake-up.
   */
  Status armEarliest() noexcept;

  /** For another loop to watch: readable when turn() would return something. Fixed for life. */
  int pollableFd() const noexcept { return pollable_.get(); }
  /** Grows when the file behind pollableFd() was replaced: watch the number again. */
  std::uint64_t rebuilds() const noexcept { return counters_.rebuilds; }

  /** Makes a wait in progress, or the next, return. Any thread, signal handlers included. */
  void wake() noexcept { waker_.wake(); }

  /** How long a wait lasts that interruptOn() cannot end. */
  static constexpr std::chrono::nanoseconds kUninterruptedWait = std::chrono::milliseconds{10};

  /**
   * Ends a wait early when something happens at `fd` (a foreign loop's set); told by its edge, so
   * that what nobody serves does not spin. Events there are swallowed. Where that set watches this
   * one, a wait lasts kUninterruptedWait at most.
   */
  Status interruptOn(int fd) noexcept;

  std::size_t watched() const noexcept { return watched_; }
  const PollerCounters& counters() const noexcept { return counters_; }

 private:
  struct Row {
    Generation generation = 0;  // 0: no registration
    Ready interest = Ready::none;
  };
  static constexpr std::size_t kPageSize = 256;
  struct Page {
    Row rows[kPageSize];
  };
  using FileIdentity = std::pair<dev_t, ino_t>;

  Poller(MakeBackend makeBackend, ClockReader now, std::unique_ptr<Backend> backend, Waker waker,
         UniqueFd pollable) noexcept;

  /** When a turn is due for the timers' sake. */
  std::optional<Instant> nextTimerTurn() const noexcept;
  void drop(Row& row, int fd) noexcept;
  Row* findRow(int fd) const noexcept;
  Row& rowFor(int fd);
  Status update(int fd, Ready before, Ready after) noexcept;
  Result<std::size_t> wait(std::span<Event> events, Timeout timeout) noexcept;
  std::size_t keepCurrent(std::span<const Event> events, std::span<ReadyRow> out) noexcept;
  void noteOrphans(bool seen) noexcept;
  Status rebuild() noexcept;

  MakeBackend makeBackend_;
  ClockReader now_;
  std::unique_ptr<Backend> backend_;
  Waker waker_;
  UniqueFd pollable_;
  std::unique_ptr<Backend> interrupt_;  // an edge-triggered set of its own
  int interruptSource_ = -1;
  TimerHeap timers_;
  std::optional<Instant> armed_;
  Instant lastFired_{};                       // when a turn last fired all timers due
  std::vector<std::unique_ptr<Page>> pages_;  // by descriptor number
  std::unordered_map<int, FileIdentity> paused_;
  std::vector<Event> events_;
  std::size_t watched_ = 0;
  Generation nextGeneration_ = 1;
  int orphanTurns_ = 0;
  PollerCounters counters_;
};

}  // namespace ioloop
