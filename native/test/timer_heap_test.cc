#include "core/timer_heap.h"

#include <array>
#include <compare>
#include <set>
#include <tuple>
#include <vector>

#include "core/sim/seeded_random.h"
#include "test/check.h"

namespace ioloop {
namespace {

constexpr Instant at(std::int64_t nanoseconds) {
  return Instant{std::chrono::nanoseconds{nanoseconds}};
}

/** Everything due at `now`, `batch` ids at a time. */
std::vector<TimerId> popAll(TimerHeap& heap, Instant now, std::size_t batch = 7) {
  std::vector<TimerId> all;
  std::vector<TimerId> due(batch);
  while (const std::size_t count = heap.popDue(now, due))
    all.insert(all.end(), due.begin(), due.begin() + static_cast<std::ptrdiff_t>(count));
  return all;
}

/** A sorted set of (deadline, order of making, id): what TimerHeap has to be equal to. */
class Model {
 public:
  void set(TimerId id, Instant deadline) {
    if (id >= timers_.size()) timers_.resize(id + 1);
    unset(id);
    timers_[id] = {deadline, nextSequence_++, true};
    sorted_.emplace(deadline, timers_[id].sequence, id);
  }
  void unset(TimerId id) {
    Timer& timer = timers_[id];
    if (timer.pending) sorted_.erase({timer.deadline, timer.sequence, id});
    timer.pending = false;
  }
  bool pending(TimerId id) const { return timers_[id].pending; }
  std::size_t size() const { return sorted_.size(); }
  std::optional<Instant> earliest() const {
    if (sorted_.empty()) return std::nullopt;
    return std::get<0>(*sorted_.begin());
  }
  /** The id that is due next at `now`, and takes it out. */
  std::optional<TimerId> pop(Instant now) {
    if (sorted_.empty() || std::get<0>(*sorted_.begin()) > now) return std::nullopt;
    const TimerId id = std::get<2>(*sorted_.begin());
    unset(id);
    return id;
  }

 private:
  struct Timer {
    Instant deadline;
    std::uint64_t sequence = 0;
    bool pending = false;
  };
  std::vector<Timer> timers_;
  std::set<std::tuple<Instant, std::uint64_t, TimerId>> sorted_;
  std::uint64_t nextSequence_ = 0;
};

/** Random operations on a heap and on the model; they have to agree after each. */
class RandomOperations {
 public:
  explicit RandomOperations(std::uint64_t seed) : random_(seed) {}

  bool run(int count) {
    for (int i = 0; i < count; ++i) {
      const bool agreed = step(random_.below(10));
      if (!agreed || heap_.size() != model_.size() || heap_.earliest() != model_.earliest())
        return false;
    }
    return true;
  }
  std::size_t fired() const { return fired_; }

 private:
  // A narrow range, so that a tenth of all deadlines has its equals.
  Instant deadline() {
    return now_ + std::chrono::nanoseconds{static_cast<std::int64_t>(random_.below(20'000)) - 500};
  }

  bool step(std::uint64_t kind) {
    if (kind < 4 || ids_.empty()) return schedule();
    const std::size_t which = random_.below(ids_.size());
    if (kind < 6) return reschedule(ids_[which]);
    if (kind < 9) return release(which);
    now_ += std::chrono::nanoseconds{static_cast<std::int64_t>(random_.below(200))};
    return pop(random_.below(9));
  }
  bool schedule() {
    const Instant due = deadline();
    const TimerId id = heap_.schedule(due);
    if (id < live_.size() && live_[id]) return false;  // the id of a timer that is still there
    if (id > live_.size()) return false;               // dense: at most one above all before
    if (id == live_.size()) live_.push_back(false);
    live_[id] = true;
    ids_.push_back(id);
    model_.set(id, due);
    return heap_.pending(id);
  }
  bool reschedule(TimerId id) {
    const Instant due = deadline();
    heap_.reschedule(id, due);
    model_.set(id, due);
    return heap_.pending(id);
  }
  bool release(std::size_t which) {
    const TimerId id = ids_[which];
    if (heap_.pending(id) != model_.pending(id)) return false;
    heap_.release(id);
    model_.unset(id);
    live_[id] = false;
    ids_[which] = ids_.back();
    ids_.pop_back();
    return !heap_.pending(id);
  }
  bool pop(std::size_t most) {
    std::array<TimerId, 8> due{};
    const std::size_t count = heap_.popDue(now_, std::span(due).first(most));
    for (std::size_t i = 0; i < count; ++i)
      if (model_.pop(now_) != due[i] || heap_.pending(due[i])) return false;
    fired_ += count;
    // Fewer than there was room for: nothing more is due.
    return count == most || !model_.earliest() || *model_.earliest() > now_;
  }

  SeededRandom random_;
  TimerHeap heap_;
  Model model_;
  std::vector<TimerId> ids_;
  std::vector<bool> live_;  // by id
  Instant now_ = at(1'000'000);
  std::size_t fired_ = 0;
};

TEST("a million random operations agree with a sorted set, in order and in number") {
  RandomOperations operations(1);
  CHECK(operations.run(1'000'000));
  CHECK(operations.fired() > 10'000);
}

TEST("a million timers come out in order, equal deadlines in the order they were made") {
  constexpr std::size_t kTimers = 1'000'000;
  SeededRandom random(2);
  TimerHeap heap;
  std::vector<Instant> deadlines(kTimers);
  for (Instant& deadline : deadlines) {
    deadline = at(static_cast<std::int64_t>(random.below(50'000)));
    heap.schedule(deadline);
  }
  const auto order = popAll(heap, at(50'000), 256);
  REQUIRE(order.size() == kTimers);
  // Ids count up as long as none is released, so they tell the order of making.
  for (std::size_t i = 1; i < kTimers; ++i)
    if (std::tuple(deadlines[order[i - 1]], order[i - 1]) >=
        std::tuple(deadlines[order[i]], order[i]))
      return check::fail(__FILE__, __LINE__, "order");
}

TEST("a timer is never early and is due at its very instant") {
  TimerHeap heap;
  const TimerId id = heap.schedule(at(100));
  CHECK(popAll(heap, at(99)).empty());
  CHECK(heap.pending(id));
  CHECK(popAll(heap, at(100)) == std::vector{id});
}

TEST("a rescheduled timer queues behind its equals") {
  TimerHeap heap;
  const TimerId first = heap.schedule(at(10));
  const TimerId second = heap.schedule(at(10));
  heap.reschedule(first, at(10));
  CHECK(popAll(heap, at(10)) == std::vector{second, first});
}

TEST("deadlines before the clock's zero, at it and at its end keep their order") {
  TimerHeap heap;
  const TimerId never = heap.schedule(kNever);
  const TimerId zero = heap.schedule(at(0));
  const TimerId past = heap.schedule(at(-5));
  CHECK(heap.earliest() == at(-5));
  CHECK(popAll(heap, at(0)) == std::vector{past, zero});
  CHECK(heap.pending(never));
  CHECK(heap.earliest() == kNever);
}

TEST("no more come out than there is room for, and the rest comes next") {
  TimerHeap heap;
  std::vector<TimerId> made;
  for (int i = 0; i < 5; ++i) made.push_back(heap.schedule(at(i)));
  std::array<TimerId, 2> due{};
  CHECK(heap.popDue(at(10), std::span(due).first(0)) == 0);
  REQUIRE(heap.popDue(at(10), due) == 2);
  CHECK((due == std::array{made[0], made[1]}));
  CHECK(heap.size() == 3);
  CHECK(popAll(heap, at(10)) == std::vector(made.begin() + 2, made.end()));
}

TEST("the id of a due timer is not given away until it is released") {
  TimerHeap heap;
  const TimerId fired = heap.schedule(at(1));
  REQUIRE(popAll(heap, at(1)) == std::vector{fired});
  CHECK(!heap.pending(fired));
  CHECK(heap.schedule(at(2)) != fired);
  heap.release(fired);
  CHECK(heap.schedule(at(3)) == fired);
}

TEST("a due timer that is rescheduled fires again under its id") {
  TimerHeap heap;
  const TimerId id = heap.schedule(at(1));
  REQUIRE(popAll(heap, at(1)) == std::vector{id});
  heap.reschedule(id, at(1));
  CHECK(popAll(heap, at(1)) == std::vector{id});
}

TEST("releasing timers frees their places at once: ids stay dense") {
  TimerHeap heap;
  for (int round = 0; round < 1000; ++round) {
    std::array<TimerId, 10> made{};
    for (TimerId& id : made) id = heap.schedule(at(round));
    for (const TimerId id : made) {
      CHECK(id < made.size());
      heap.release(id);
    }
    CHECK(heap.size() == 0);
  }
  CHECK(!heap.earliest());
}

TEST("an id that was never made is not pending") { CHECK(!TimerHeap().pending(3)); }

}  // namespace
}  // namespace ioloop
