#include "core/poller.h"

#include <poll.h>

#include <array>
#include <cerrno>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/sim/seeded_random.h"
#include "test/check.h"
#include "test/conformance_world.h"
#include "test/fault_injector.h"

namespace ioloop {
namespace {

using namespace std::chrono_literals;
using Ends = World::Ends;

constexpr Ready kReadWrite = Ready::read | Ready::write;

/** A poller in a world, and the tables of one turn. */
struct Rig {
  explicit Rig(World& where) : world(where) {
    auto made =
        Poller::create([this] { return world.createBackend(); }, [this] { return world.now(); });
    CHECK(made.has_value());
    if (made) poller = std::move(*made);
  }

  /** One turn; the rows it filled. */
  std::span<const ReadyRow> turn(Timeout timeout = kAtOnce) {
    const TurnCounts counts = poller->turn({ready, due}, timeout);
    CHECK(counts.wait.has_value());
    dueCount = counts.due;
    return std::span(ready).first(counts.ready);
  }

  /** What one turn says of `fd`. */
  Ready turnFor(int fd, Timeout timeout = kAtOnce) {
    for (const ReadyRow& row : turn(timeout))
      if (row.fd == fd && poller->isCurrent(row)) return row.ready;
    return Ready::none;
  }

  Generation watch(int fd, Ready interest) {
    const auto added = poller->add(fd, interest);
    CHECK(added.has_value());
    return added ? *added : 0;
  }

  std::uint64_t systemCalls() const { return poller->counters().systemCalls; }

  World& world;
  std::unique_ptr<Poller> poller;
  std::vector<ReadyRow> ready = std::vector<ReadyRow>(4096);
  std::array<TimerId, 16> due{};
  std::size_t dueCount = 0;
};

using Body = void (*)(Rig& rig);

bool inEveryWorld(const char* sentence, Body body) {
  return check::generate([=] {
    for (const WorldRow& row : worlds())
      check::add(row.name + ": " + sentence, [&row, body] {
        const auto world = row.make();
        Rig rig(*world);
        if (rig.poller) body(rig);
      });
  });
}

#define EVERYWHERE(sentence) EVERYWHERE_(sentence, CHECK_JOIN(everywhere, __LINE__))
#define EVERYWHERE_(sentence, function)                                      \
  void function(Rig& rig);                                                   \
  const bool CHECK_JOIN(function, Added) = inEveryWorld(sentence, function); \
  void function([[maybe_unused]] Rig& rig)

bool isReadable(int fd) {
  pollfd entry{fd, POLLIN, 0};
  return ::poll(&entry, 1, 0) == 1;
}

/** Two connected descriptors that are ready to write, both watched for it. */
struct ReadyPair {
  explicit ReadyPair(Rig& rig) : ends(rig.world.connect()) {
    rig.watch(ends.near, Ready::write);
    rig.watch(ends.far, Ready::write);
  }
  Ends ends;
};

/** The row of `fd`, which is there. */
ReadyRow rowOf(std::span<const ReadyRow> rows, int fd) {
  for (const ReadyRow& row : rows)
    if (row.fd == fd) return row;
  check::fail(__FILE__, __LINE__, "a row of that descriptor");
  return {-1, Ready::none, 0};
}

// --- Within one batch ---

EVERYWHERE("who is removed while ready in the same batch is not called") {
  const ReadyPair pair(rig);
  const auto rows = rig.turn();
  REQUIRE(rows.size() == 2);
  CHECK(rig.poller->isCurrent(rowOf(rows, pair.ends.far)));
  CHECK(rig.poller->remove(pair.ends.far));
  CHECK(!rig.poller->isCurrent(rowOf(rows, pair.ends.far)));
  CHECK(rig.poller->isCurrent(rowOf(rows, pair.ends.near)));
}

EVERYWHERE("a number closed, reused and registered in a batch does not get the old event") {
  const ReadyPair pair(rig);
  const auto rows = rig.turn();
  const ReadyRow old = rowOf(rows, pair.ends.far);
  rig.world.close(pair.ends.far);
  const Ends reused = rig.world.connectOn(pair.ends.far);
  REQUIRE(reused.near == pair.ends.far);
  CHECK(rig.watch(reused.near, Ready::write) != old.generation);
  CHECK(!rig.poller->isCurrent(old));
  CHECK(rig.turnFor(reused.near) == Ready::write);
}

EVERYWHERE("the same within its own handler, removed first or not") {
  for (const bool removes : {false, true}) {
    const Ends ends = rig.world.connect();
    rig.watch(ends.near, kReadWrite);
    const ReadyRow own = rowOf(rig.turn(), ends.near);
    if (removes) CHECK(rig.poller->remove(ends.near));
    rig.world.close(ends.near);
    const Ends reused = rig.world.connectOn(ends.near);
    rig.watch(reused.near, Ready::read);
    CHECK(!rig.poller->isCurrent(own));
    CHECK(rig.turnFor(reused.near) == Ready::none);
    CHECK(rig.world.send(reused.far, 1));
    CHECK(rig.turnFor(reused.near) == Ready::read);
  }
}

EVERYWHERE("after a change of interest in a batch only the new interest is seen") {
  const ReadyPair pair(rig);
  const auto rows = rig.turn();
  CHECK(rig.poller->modify(pair.ends.far, Ready::read).has_value());
  CHECK(!rig.poller->isCurrent(rowOf(rows, pair.ends.far)));
  CHECK(rig.poller->modify(pair.ends.far, kReadWrite).has_value());
  CHECK(rig.poller->isCurrent(rowOf(rows, pair.ends.far)));
  CHECK(rig.poller->modify(pair.ends.far, Ready::none).has_value());
  CHECK(!rig.poller->isCurrent(rowOf(rows, pair.ends.far)));
  CHECK(rig.turnFor(pair.ends.far) == Ready::none);
}

EVERYWHERE("removing oneself is fine, adding twice EEXIST, what is unknown of no effect") {
  const Ends ends = rig.world.connect();
  CHECK(!rig.poller->remove(ends.near));
  CHECK(errorOf(rig.poller->modify(ends.near, Ready::read)) == ENOENT);
  const Generation first = rig.watch(ends.near, Ready::write);
  const auto again = rig.poller->add(ends.near, Ready::read);
  CHECK(!again && again.error().code == EEXIST);
  CHECK(rowOf(rig.turn(), ends.near).generation == first);
  CHECK(rig.poller->remove(ends.near));
  CHECK(!rig.poller->remove(ends.near));
  CHECK(rig.poller->watched() == 0);
  CHECK(rig.watch(ends.near, Ready::write) != first);
}

EVERYWHERE("what is no descriptor is EBADF and leaves no trace") {
  for (const int fd : {-1, 1'000'000, 2'147'483'647}) {
    const auto added = rig.poller->add(fd, Ready::read);
    CHECK(!added && added.error().code == EBADF);
    CHECK(!rig.poller->remove(fd));
  }
  CHECK(rig.poller->watched() == 0);
}

EVERYWHERE("the first of 2,500 that are ready closes all others: none of them is called") {
  const std::size_t total = std::min<std::size_t>(2500, rig.world.capacity());
  std::vector<int> fds;
  while (fds.size() < total) {
    const ReadyPair pair(rig);
    fds.insert(fds.end(), {pair.ends.near, pair.ends.far});
  }
  std::size_t called = 0;
  for (int turns = 0; turns < 3; ++turns) {
    for (const ReadyRow& row : rig.turn()) {
      if (!rig.poller->isCurrent(row)) continue;
      if (++called > 1) continue;
      for (const int fd : fds) {
        if (fd == row.fd) continue;
        CHECK(rig.poller->remove(fd));
        rig.world.close(fd);
      }
    }
    CHECK(called == static_cast<std::size_t>(turns) + 1);
  }
  CHECK(rig.poller->watched() == 1);
}

/** Random changes inside batches, and what the poller may say after each. */
class RandomChanges {
 public:
  explicit RandomChanges(Rig& rig) : rig_(rig) {
    for (int i = 0; i < 48; ++i) slots_.push_back({rig.world.connect()});
    for (std::size_t i = 0; i < slots_.size(); ++i) byNumber_[slots_[i].ends.near] = i;
  }

  bool run(std::uint64_t changes) {
    while (done_ < changes) {
      noteState();
      const auto rows = rig_.turn();
      for (const ReadyRow& row : rows)
        if (!deliver(row)) return false;
      for (int i = 0; i < 3; ++i)
        if (!change()) return false;
    }
    return true;
  }
  std::uint64_t delivered() const { return delivered_; }
  std::uint64_t dropped() const { return dropped_; }

 private:
  struct Slot {
    Ends ends;
    Generation generation = 0;  // 0: not registered
    Ready interest = Ready::none;
    bool data = false;
    Generation generationAtTurn = 0;
    Ready readyAtTurn = Ready::none;
  };

  void noteState() {
    for (Slot& slot : slots_) {
      slot.generationAtTurn = slot.generation;
      slot.readyAtTurn = (slot.data ? Ready::read : Ready::none) | Ready::write;
    }
  }

  /** A row that counts as current has to be the truth about a registration older than the turn. */
  bool deliver(const ReadyRow& row) {
    if (!rig_.poller->isCurrent(row)) {
      ++dropped_;
      return true;
    }
    ++delivered_;
    const Slot& slot = slots_[byNumber_.at(row.fd)];
    if (row.generation != slot.generation || row.generation != slot.generationAtTurn) return false;
    if (has(row.ready, ~slot.readyAtTurn) || !has(row.ready, slot.interest)) return false;
    return change() && change();
  }

  bool change() {
    ++done_;
    Slot& slot = slots_[random_.below(slots_.size())];
    switch (random_.below(8)) {
      case 0:
      case 1:
        return slot.generation == 0 ? add(slot) : addTwice(slot);
      case 2:
        return modify(slot);
      case 3:
        return remove(slot);
      case 4:
        return reopen(slot) && add(slot);
      case 5:
        return remove(slot) && reopen(slot);
      default:
        return toggleData(slot);
    }
  }
  Ready anyInterest() {
    constexpr std::array kChoices{Ready::read, Ready::write, kReadWrite};
    return kChoices[random_.below(kChoices.size())];
  }
  bool add(Slot& slot) {
    const Ready interest = anyInterest();
    const auto added = rig_.poller->add(slot.ends.near, interest);
    if (!added || *added == 0 || *added == slot.generation) return false;
    slot.generation = *added;
    slot.interest = interest;
    return true;
  }
  bool addTwice(Slot& slot) {
    const auto added = rig_.poller->add(slot.ends.near, anyInterest());
    return !added && added.error().code == EEXIST;
  }
  bool modify(Slot& slot) {
    const Ready interest = random_.below(4) == 0 ? Ready::none : anyInterest();
    const Status status = rig_.poller->modify(slot.ends.near, interest);
    if (slot.generation == 0) return !status && status.error().code == ENOENT;
    slot.interest = interest;
    return status.has_value();
  }
  bool remove(Slot& slot) {
    const bool known = slot.generation != 0;
    slot.generation = 0;
    return rig_.poller->remove(slot.ends.near) == known;
  }
  bool reopen(Slot& slot) {
    const int number = slot.ends.near;
    rig_.world.close(slot.ends.near);
    rig_.world.close(slot.ends.far);
    slot.ends = rig_.world.connectOn(number);
    slot.data = false;
    return slot.ends.near == number;
  }
  bool toggleData(Slot& slot) {
    if (slot.data)
      rig_.world.drain(slot.ends.near);
    else if (!rig_.world.send(slot.ends.far, 1))
      return false;
    slot.data = !slot.data;
    return true;
  }

  Rig& rig_;
  SeededRandom random_{1};
  std::vector<Slot> slots_;
  std::map<int, std::size_t> byNumber_;
  std::uint64_t done_ = 0;
  std::uint64_t delivered_ = 0;
  std::uint64_t dropped_ = 0;
};

EVERYWHERE("random changes inside batches: no stale event is ever delivered") {
  const auto count = check::count<std::uint64_t>(50'000, 1'000'000);
  RandomChanges changes(rig);
  CHECK(changes.run(count));
  CHECK(changes.delivered() > count / 10);
  CHECK(changes.dropped() > count / 100);
}

// --- Across turns ---

EVERYWHERE("a descriptor closed while a duplicate lives falls silent within a few turns") {
  const Ends ends = rig.world.connect();
  const Ends other = rig.world.connect();
  rig.watch(ends.near, Ready::read);
  rig.watch(other.near, Ready::read);
  const UniqueFd duplicate(sys().fcntl(ends.near, F_DUPFD_CLOEXEC, 0));
  REQUIRE(duplicate.get() >= 0);
  rig.world.close(ends.near);
  CHECK(rig.poller->remove(ends.near));
  CHECK(rig.world.send(ends.far, 1));
  for (int turns = 0; turns < 4; ++turns) CHECK(rig.turn().empty());
  CHECK(!isReadable(rig.poller->pollableFd()));
  CHECK(rig.poller->rebuilds() <= 1);
  CHECK(rig.world.send(other.far, 1));
  CHECK(isReadable(rig.poller->pollableFd()));
  CHECK(rig.turnFor(other.near) == Ready::read);
  rig.poller->wake();
  CHECK(rig.turnFor(other.near, Timeout()) == Ready::read);
  CHECK(rig.poller->counters().wakes == 1);
}

EVERYWHERE("who is forgotten and closed is gone, at no call where the backend forgets by itself") {
  const auto backend = rig.world.createBackend();
  REQUIRE(backend);
  const bool forgets = (*backend)->forgetsClosed();
  CHECK(!forgets || !rig.world.tellsClosed());
  const ReadyPair pair(rig);
  const auto rows = rig.turn();
  const ReadyRow old = rowOf(rows, pair.ends.far);
  const std::uint64_t before = rig.systemCalls();
  CHECK(rig.poller->forget(pair.ends.far));
  CHECK(!rig.poller->forget(pair.ends.far));
  CHECK(rig.systemCalls() == before + (forgets ? 0 : 1));
  rig.world.close(pair.ends.far);
  CHECK(!rig.poller->isCurrent(old));
  const Ends reused = rig.world.connectOn(pair.ends.far);
  CHECK(rig.watch(reused.near, Ready::write) != old.generation);
  CHECK(!rig.poller->isCurrent(old));
  CHECK(rig.turnFor(reused.near) == Ready::write);
}

EVERYWHERE("who is forgotten while a duplicate lives falls silent, its number's next owner too") {
  const Ends ends = rig.world.connect();
  rig.watch(ends.near, Ready::read);
  const UniqueFd duplicate(sys().fcntl(ends.near, F_DUPFD_CLOEXEC, 0));
  REQUIRE(duplicate.get() >= 0);
  CHECK(rig.poller->forget(ends.near));
  rig.world.close(ends.near);
  const Ends reused = rig.world.connectOn(ends.near);
  rig.watch(reused.near, Ready::read);
  CHECK(rig.world.send(ends.far, 1));
  for (int turns = 0; turns < 4; ++turns) CHECK(rig.turn().empty());
  CHECK(rig.world.send(reused.far, 1));
  CHECK(rig.turnFor(reused.near) == Ready::read);
}

EVERYWHERE("a descriptor closed behind the loop's back is an error once at most") {
  const Ends ends = rig.world.connect();
  const Ends other = rig.world.connect();
  const Generation generation = rig.watch(ends.near, Ready::read);
  rig.watch(other.near, Ready::write);
  rig.world.close(ends.near);
  int told = 0;
  for (int turns = 0; turns < 5; ++turns) {
    for (const ReadyRow& row : rig.turn()) {
      if (row.fd != ends.near) continue;
      ++told;
      CHECK(row.ready == Ready::error && row.generation == generation);
    }
  }
  CHECK(told == (rig.world.tellsClosed() ? 1 : 0));
  CHECK(rig.turnFor(other.near) == Ready::write);
  CHECK(rig.poller->remove(ends.near));
}

EVERYWHERE("a pause keeps the place: silent, still EEXIST, and back with what waited") {
  const Ends ends = rig.world.connect();
  rig.watch(ends.near, Ready::read);
  CHECK(rig.world.send(ends.far, 1));
  CHECK(rig.poller->modify(ends.near, Ready::none).has_value());
  CHECK(rig.turn().empty());
  CHECK(!isReadable(rig.poller->pollableFd()));
  const auto again = rig.poller->add(ends.near, Ready::read);
  CHECK(!again && again.error().code == EEXIST);
  CHECK(rig.poller->modify(ends.near, Ready::read).has_value());
  CHECK(rig.turnFor(ends.near) == Ready::read);
}

// --- Timers, deadlines, wakes ---

EVERYWHERE("a turn sleeps no longer than the next deadline and fills in who is due") {
  const Instant deadline = rig.world.now() + 2ms;
  const TimerId id = rig.poller->timers().schedule(deadline);
  while (rig.dueCount == 0 && rig.world.now() < deadline + 10s) CHECK(rig.turn(60s).empty());
  CHECK(rig.world.now() >= deadline);
  REQUIRE(rig.dueCount == 1);
  CHECK(rig.due[0] == id);
}

EVERYWHERE("no more timers are due in a turn than the table holds; the rest are at once") {
  for (int i = 0; i < 20; ++i) rig.poller->timers().schedule(rig.world.now());
  rig.turn(60s);
  CHECK(rig.dueCount == 16);
  CHECK(rig.poller->untilDeadline() == 0ns);
  rig.turn(60s);
  CHECK(rig.dueCount == 4);
  CHECK(!rig.poller->untilDeadline());
}

EVERYWHERE("many timers share wake-ups, but those beyond the table are due at once") {
  TimerHeap& timers = rig.poller->timers();
  const Instant start = rig.world.now();
  for (std::size_t i = 0; i < Poller::kManyTimers; ++i) timers.schedule(start + 1h);
  for (int i = 0; i < 20; ++i) timers.schedule(start);
  rig.turn(60s);
  CHECK(rig.dueCount == 16);
  CHECK(rig.poller->untilDeadline() == 0ns);
  const Instant before = rig.world.now();
  rig.turn(60s);
  CHECK(rig.dueCount == 4);
  timers.schedule(start);
  const Timeout left = rig.poller->untilDeadline();
  REQUIRE(left.has_value());
  CHECK(*left <= Poller::kTimerSpacing);
  CHECK(*left > 0ns || rig.world.now() >= before + Poller::kTimerSpacing);
}

EVERYWHERE("arming makes a system call only for a sooner deadline, or when the armed one passed") {
  TimerHeap& timers = rig.poller->timers();
  const auto armed = [&] {
    const std::uint64_t before = rig.systemCalls();
    CHECK(rig.poller->armEarliest().has_value());
    return rig.systemCalls() - before;
  };
  CHECK(armed() == 0);
  const Instant start = rig.world.now();
  timers.schedule(start + 1h);
  CHECK(armed() == 1);
  CHECK(armed() == 0);
  timers.schedule(start + 2h);
  CHECK(armed() == 0);
  const TimerId soon = timers.schedule(start + 30min);
  CHECK(armed() == 1);
  timers.release(soon);
  CHECK(armed() == 0);
  const TimerId now = timers.schedule(start);
  CHECK(armed() == 1);
  rig.turn();
  REQUIRE(rig.dueCount == 1 && rig.due[0] == now);
  CHECK(armed() == 1);
  CHECK(armed() == 0);
}

EVERYWHERE("an armed deadline makes the pollable descriptor readable, and one turn takes it") {
  const TimerId id = rig.poller->timers().schedule(rig.world.now());
  CHECK(!isReadable(rig.poller->pollableFd()));
  CHECK(rig.poller->armEarliest().has_value());
  pollfd entry{rig.poller->pollableFd(), POLLIN, 0};
  CHECK(::poll(&entry, 1, 10'000) == 1);
  rig.turn();
  REQUIRE(rig.dueCount == 1);
  CHECK(rig.due[0] == id);
  CHECK(!isReadable(rig.poller->pollableFd()));
}

EVERYWHERE("a wake ends the turn that is under way, or the next; many are one") {
  std::thread waking([&] {
    for (int i = 0; i < 100; ++i) rig.poller->wake();
  });
  waking.join();
  CHECK(isReadable(rig.poller->pollableFd()));
  CHECK(rig.turn(Timeout()).empty());
  CHECK(rig.poller->counters().wakes == 1);
  CHECK(!isReadable(rig.poller->pollableFd()));
}

EVERYWHERE("a foreign set's event ends a turn early, once for each time it happens") {
  std::array<int, 2> fds{-1, -1};
  REQUIRE(sys().pipe2(fds.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  const UniqueFd foreign(fds[0]);
  const UniqueFd writer(fds[1]);
  REQUIRE(rig.poller->interruptOn(foreign.get()).has_value());
  for (int round = 0; round < 3; ++round) {
    CHECK(sys().write(writer.get(), "x", 1) == 1);
    CHECK(rig.turn(Timeout()).empty());
    const Instant start = rig.world.now();
    rig.turn(2ms);  // nobody has read: level-triggered, this would end at once
    CHECK(rig.world.now() - start >= 2ms);
  }
  REQUIRE(rig.poller->interruptOn(-1).has_value());
  CHECK(sys().write(writer.get(), "x", 1) == 1);
  const Instant start = rig.world.now();
  rig.turn(2ms);
  CHECK(rig.world.now() - start >= 2ms);
}

#if defined(__linux__)
EVERYWHERE("a foreign set may watch ours, and our waits then are short") {
  const UniqueFd foreign(sys().epollCreate(EPOLL_CLOEXEC));
  REQUIRE(rig.poller->interruptOn(foreign.get()).has_value());
  CHECK(rig.turn(1ms).empty());
  epoll_event event{.events = EPOLLIN, .data = {}};
  REQUIRE(sys().epollCtl(foreign.get(), EPOLL_CTL_ADD, rig.poller->pollableFd(), &event) == 0);
  CHECK(rig.turn(Timeout()).empty());
  CHECK(sys().epollWait(foreign.get(), &event, 1, 0) == 0);
}
#endif

EVERYWHERE("an interrupted wait and a shuffled ready list are an empty turn and a full one") {
  FaultInjector faults(1);
  const ReadyPair pair(rig);
#if defined(__linux__)
  faults.on<&SysTable::epollWait>().failCall(1, EINTR);
  faults.on<&SysTable::epollWait>().reorderRandomly(1);
#endif
  faults.on<&SysTable::poll>().failCall(1, EINTR);
  faults.on<&SysTable::select>().failCall(1, EINTR);
  faults.on<&SysTable::kevent>().failCall(1, EINTR);
  std::size_t most = 0;
  for (int turns = 0; turns < 3; ++turns) most = std::max(most, rig.turn().size());
  CHECK(most == 2);
}

TEST("a failed wait is told, and timers are due all the same") {
  for (const BackendRow& row : backends()) {
    auto poller = Poller::create(row.create);
    REQUIRE(poller.has_value());
    (*poller)->timers().schedule(Instant{});
    FaultInjector faults(1);
#if defined(__linux__)
    faults.on<&SysTable::epollWait>().failCall(1, EBADF);
#endif
    faults.on<&SysTable::poll>().failCall(1, EINVAL);
    faults.on<&SysTable::select>().failCall(1, EINVAL);
    faults.on<&SysTable::kevent>().failCall(1, EBADF);
    std::array<ReadyRow, 1> ready{};
    std::array<TimerId, 1> due{};
    const TurnCounts failed = (*poller)->turn({ready, due}, kAtOnce);
    CHECK(!failed.wait);
    CHECK(failed.ready == 0);
    CHECK(failed.due == 1);
    CHECK((*poller)->turn({ready, due}, kAtOnce).wait.has_value());
  }
}

}  // namespace
}  // namespace ioloop
