#include <cerrno>
#include <map>
#include <random>

#include "test/conformance_world.h"

// The contract of core/backend.h, held against every backend there is. What needs real descriptors
// is in backend_descriptors_test.cc.

namespace {

using namespace ioloop;
using namespace std::chrono_literals;

using Ends = World::Ends;

constexpr Ready kReadWrite = Ready::read | Ready::write;

/** Watches something new; checks that it is taken. */
void watch(Backend& backend, int fd, Ready interest) {
  CHECK(errorOf(backend.update(fd, Ready::none, interest)) == 0);
}

/** Waits until every one of `fds` was told; returns how many waits with room for `room` it took. */
std::size_t waitsUntilAllTold(Backend& backend, const std::set<int>& fds, std::size_t room) {
  std::vector<Event> events(room);
  std::set<int> told;
  std::size_t waits = 0;
  for (; told.size() < fds.size() && waits < 2 * fds.size(); ++waits) {
    const auto count = backend.wait(events, kAtOnce);
    CHECK(count.has_value());
    if (!count) break;
    std::set<int> batch;
    for (const Event& event : std::span(events).first(*count)) batch.insert(event.fd);
    CHECK(batch.size() == *count);
    told.merge(batch);
  }
  CHECK(told == fds);
  return waits;
}

// --- Rules 1 to 4: what is told ---

CONFORMS("what can be read is told until it is read, to the last byte") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(world.send(far, 2));
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(world.receive(near, 1) == 1);
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(world.receive(near, 1) == 1);
  CHECK(waitFor(backend, near) == Ready::none);
}

CONFORMS("room to write is told as long as there is any") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::write);
  CHECK(waitFor(backend, near) == Ready::write);
  CHECK(waitFor(backend, near) == Ready::write);
  world.fill(near);
  CHECK(waitFor(backend, near) == Ready::none);
  world.drain(far);
  CHECK(waitFor(backend, near) == Ready::write);
}

CONFORMS("each interest is told exactly what it asked for, in one event") {
  for (const Ready interest : {Ready::read, Ready::write, kReadWrite}) {
    for (const bool data : {false, true}) {
      for (const bool room : {false, true}) {
        const auto [near, far] = world.connect();
        if (data) CHECK(world.send(far, 1));
        if (!room) world.fill(near);
        watch(backend, near, interest);
        const Ready state =
            (data ? Ready::read : Ready::none) | (room ? Ready::write : Ready::none);
        CHECK(waitFor(backend, near) == (state & interest));
        CHECK(errorOf(backend.update(near, interest, Ready::none)) == 0);
      }
    }
  }
}

CONFORMS("data that arrived before the end is told and read before it") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(world.send(far, 512));
  world.finish(far);
  CHECK(has(waitFor(backend, near), Ready::read));
  CHECK(world.receive(near, 512) == 512);
  CHECK(has(waitFor(backend, near), Ready::read));
  CHECK(world.receive(near, 512) == 0);
}

CONFORMS("a peer that closed is told to whoever watches, whatever for") {
  for (const Ready interest : {Ready::read, Ready::write, kReadWrite}) {
    const auto [near, far] = world.connect();
    watch(backend, near, interest);
    world.close(far);
    const Ready ready = waitFor(backend, near);
    if (has(interest, Ready::read)) CHECK(has(ready, Ready::read));
    if (has(interest, Ready::write)) CHECK(has(ready, Ready::write));
    CHECK(world.receive(near, 1) == 0);
    CHECK(errorOf(backend.update(near, interest, Ready::none)) == 0);
  }
}

CONFORMS("a refused connect is told as write, and as error where errors are told") {
  const int fd = world.connectToNobody();
  watch(backend, fd, Ready::write);
  Ready ready = Ready::none;
  for (const Instant limit = world.now() + kSoon; ready == Ready::none && world.now() < limit;)
    ready = waitFor(backend, fd, kSoon);
  CHECK(has(ready, Ready::write));
  CHECK(has(ready, Ready::error) == world.tellsFailures());
}

CONFORMS("a second reader finds nothing when the first took it, and is told of the next") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(world.send(far, 1));
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(world.receive(near, 1) == 1);
  CHECK(world.receive(near, 1) == -EAGAIN);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(world.send(far, 1));
  CHECK(waitFor(backend, near) == Ready::read);
}

CONFORMS("a mode is kept to the letter or refused with ENOTSUP") {
  for (const Ready mode : {Ready::edge, Ready::oneShot}) {
    const auto [near, far] = world.connect();
    const Status status = backend.update(near, Ready::none, Ready::read | mode);
    if (!status) {
      CHECK(status.error().code == ENOTSUP);
      CHECK(errorOf(backend.update(near, Ready::read, Ready::none)) == ENOENT);
      continue;
    }
    CHECK(world.send(far, 2));
    CHECK(waitFor(backend, near) == Ready::read);
    CHECK(waitFor(backend, near) == Ready::none);
    CHECK(world.send(far, 2));
    CHECK(has(waitFor(backend, near), Ready::read) == (mode == Ready::edge));
    CHECK(errorOf(backend.update(near, Ready::read | mode, Ready::read | mode)) == 0);
    CHECK(waitFor(backend, near) == Ready::read);
    CHECK(errorOf(backend.update(near, Ready::read | mode, Ready::none)) == 0);
  }
}

// --- Rule 7: what update takes ---

CONFORMS("new interest holds from the next wait on, and none of it after removal") {
  const auto [near, far] = world.connect();
  CHECK(world.send(far, 1));
  watch(backend, near, Ready::read);
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(errorOf(backend.update(near, Ready::read, Ready::write)) == 0);
  CHECK(waitFor(backend, near) == Ready::write);
  CHECK(errorOf(backend.update(near, Ready::write, kReadWrite)) == 0);
  CHECK(waitFor(backend, near) == kReadWrite);
  CHECK(errorOf(backend.update(near, kReadWrite, Ready::none)) == 0);
  CHECK(waitFor(backend, near) == Ready::none);
}

CONFORMS("adding what is watched is EEXIST and changes nothing") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(errorOf(backend.update(near, Ready::none, Ready::write)) == EEXIST);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(world.send(far, 1));
  CHECK(waitFor(backend, near) == Ready::read);
}

CONFORMS("changing or removing what is not watched is ENOENT and adds nothing") {
  const auto [near, far] = world.connect();
  CHECK(errorOf(backend.update(near, Ready::write, Ready::read)) == ENOENT);
  CHECK(errorOf(backend.update(near, Ready::write, Ready::none)) == ENOENT);
  CHECK(waitFor(backend, near) == Ready::none);
  watch(backend, near, Ready::write);
  CHECK(errorOf(backend.update(near, Ready::write, Ready::none)) == 0);
  CHECK(errorOf(backend.update(near, Ready::write, Ready::none)) == ENOENT);
  watch(backend, far, Ready::write);
  CHECK(waitFor(backend, far) == Ready::write);
}

CONFORMS("a closed descriptor is refused with EBADF") {
  const auto [near, far] = world.connect();
  world.close(near);
  CHECK(errorOf(backend.update(near, Ready::none, Ready::read)) == EBADF);
  CHECK(errorOf(backend.update(-1, Ready::none, Ready::read)) == EBADF);
  CHECK(waitFor(backend, near) == Ready::none);
}

CONFORMS("a number closed and reused is a new registration, without the old one's events") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(world.send(far, 1));
  world.close(near);
  const auto [reused, peer] = world.connectOn(near);
  CHECK(reused == near);
  watch(backend, reused, kReadWrite);
  CHECK(waitFor(backend, reused) == Ready::write);
  CHECK(world.send(peer, 1));
  CHECK(waitFor(backend, reused) == kReadWrite);
  CHECK(errorOf(backend.update(reused, Ready::none, Ready::read)) == EEXIST);
}

// --- Rule 9 ---

CONFORMS("a watched descriptor found closed is told once at most, and is unknown then") {
  const auto [near, far] = world.connect();
  const auto [quiet, peer] = world.connect();
  watch(backend, near, Ready::read);
  watch(backend, quiet, Ready::read);
  world.close(near);
  CHECK(waitFor(backend, near) == (world.tellsClosed() ? Ready::error : Ready::none));
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(world.send(peer, 1));
  CHECK(waitFor(backend, quiet) == Ready::read);
  const int error = errorOf(backend.update(near, Ready::read, Ready::write));
  CHECK(error == ENOENT || error == EBADF);
  const auto [reused, newPeer] = world.connectOn(near);
  watch(backend, reused, Ready::write);
  CHECK(waitFor(backend, reused) == Ready::write);
}

CONFORMS("a closed descriptor can be taken out, and its number is free for the next") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  world.close(near);
  const int error = errorOf(backend.update(near, Ready::read, Ready::none));
  CHECK(error == 0 || error == EBADF || error == ENOENT);
  CHECK(waitFor(backend, near) == Ready::none);
  const auto [reused, peer] = world.connectOn(near);
  watch(backend, reused, Ready::write);
  CHECK(waitFor(backend, reused) == Ready::write);
}

CONFORMS("many watched descriptors closed at once leave the others working") {
  std::vector<Ends> pairs;
  for (int i = 0; i < 40; ++i) {
    pairs.push_back(world.connect());
    watch(backend, pairs.back().near, Ready::write);
  }
  std::set<int> left;
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (i % 3 == 0)
      world.close(pairs[i].near);
    else
      left.insert(pairs[i].near);
  }
  // More rounds than it takes to tell all 40, seven at a time, while rows move about.
  std::array<Event, 7> few;
  for (int i = 0; i < 12; ++i) CHECK(backend.wait(few, kAtOnce).has_value());
  waitsUntilAllTold(backend, left, 64);
}

// --- Many at once ---

CONFORMS("when more are ready than there is room for, all have their turn in the fewest waits") {
  constexpr std::size_t kReady = 100;
  std::set<int> fds;
  while (fds.size() < kReady) {
    const auto [near, far] = world.connect();
    fds.insert(near);
    watch(backend, near, Ready::write);
  }
  for (const unsigned room : {1U, 7U, 64U, 100U}) {
    const std::size_t fewest = (kReady + room - 1) / room;
    CHECK(waitsUntilAllTold(backend, fds, room) <= fewest);
    CHECK(waitsUntilAllTold(backend, fds, room) <= fewest);
  }
}

CONFORMS("2,500 descriptors that are all ready are each told, 256 a wait") {
  const std::size_t total = std::min<std::size_t>(2500, world.capacity());
  std::set<int> fds;
  while (fds.size() < total) {
    const auto [near, far] = world.connect();
    fds.insert({near, far});
    watch(backend, near, Ready::write);
    watch(backend, far, Ready::write);
  }
  CHECK(waitsUntilAllTold(backend, fds, 256) <= (total + 255) / 256);
}

CONFORMS("one closes all the others while 2,500 are ready: nothing of them is told as ready") {
  const std::size_t total = std::min<std::size_t>(2500, world.capacity());
  std::vector<int> fds;
  while (fds.size() < total) {
    const auto [near, far] = world.connect();
    fds.insert(fds.end(), {near, far});
    watch(backend, near, Ready::write);
    watch(backend, far, Ready::write);
  }
  CHECK(waitFor(backend, fds[0]) == Ready::write);
  for (std::size_t i = 1; i < fds.size(); ++i) {
    CHECK(errorOf(backend.update(fds[i], Ready::write, Ready::none)) == 0);
    world.close(fds[i]);
  }
  std::vector<Event> events(total);
  const auto count = backend.wait(events, kAtOnce);
  REQUIRE(count.has_value());
  REQUIRE(*count == 1);
  CHECK(events[0].fd == fds[0]);
}

CONFORMS("after any series of changes, ready is who is watched and has something to tell") {
  struct Watched {
    Ends ends{};
    Ready interest = Ready::none;
    bool data = false;
  };
  std::minstd_rand random(1);
  std::vector<Watched> all(24);
  for (Watched& each : all) each.ends = world.connect();
  constexpr std::array kChoices{Ready::none, Ready::read, Ready::write, kReadWrite};
  for (int step = 0; step < 4000; ++step) {
    Watched& one = all[random() % all.size()];
    const auto roll = random() % 8;
    if (roll < 4) {
      const Ready after = kChoices[random() % kChoices.size()];
      if (one.interest == Ready::none && after == Ready::none) continue;
      REQUIRE(errorOf(backend.update(one.ends.near, one.interest, after)) == 0);
      one.interest = after;
    } else if (roll < 7) {
      if (one.data)
        world.drain(one.ends.near);
      else
        CHECK(world.send(one.ends.far, 1));
      one.data = !one.data;
    } else {
      world.close(one.ends.near);
      world.close(one.ends.far);
      one = {world.connectOn(one.ends.near), Ready::read, false};
      watch(backend, one.ends.near, Ready::read);
    }
    std::map<int, Ready> expected;
    for (const Watched& each : all) {
      const Ready state = (each.data ? Ready::read : Ready::none) | Ready::write;
      if (has(state, each.interest)) expected[each.ends.near] = state & each.interest;
    }
    std::array<Event, 32> events;
    const auto count = backend.wait(events, kAtOnce);
    REQUIRE(count.has_value());
    std::map<int, Ready> told;
    for (const Event& event : std::span(events).first(*count)) told[event.fd] = event.ready;
    REQUIRE(*count == told.size());
    REQUIRE(told == expected);
  }
}

CONFORMS("two backends watch one descriptor, each told for itself") {
  auto second = world.createBackend();
  REQUIRE(second.has_value());
  Backend& other = **second;
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  watch(other, near, kReadWrite);
  CHECK(world.send(far, 1));
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(waitFor(other, near) == kReadWrite);
  CHECK(errorOf(backend.update(near, Ready::read, Ready::none)) == 0);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(waitFor(other, near) == kReadWrite);
}

// --- Rule 6: time ---

CONFORMS("a wait with nothing to tell lasts its timeout, never less") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  for (const std::chrono::nanoseconds timeout : {1ns, 999ns, 50'000ns, 300'000ns, 1'500'000ns}) {
    const Instant start = world.now();
    CHECK(waitFor(backend, near, timeout) == Ready::none);
    CHECK(world.now() - start >= timeout);
  }
}

CONFORMS("no timeout is too long, and none delays what is ready") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::write);
  // 2^31 ms and 2^53 ns, where others overflow, and the longest there is.
  constexpr auto kLongest = std::chrono::nanoseconds::max();
  for (const Timeout timeout :
       {Timeout(2'147'483'648ms), Timeout(9'007'199'254'740'992ns), Timeout(kLongest), Timeout()}) {
    CHECK(waitFor(backend, near, timeout) == Ready::write);
    CHECK(errorOf(backend.update(near, Ready::write, Ready::read)) == 0);
    const Instant deadline = world.now() + 1ms;
    CHECK(errorOf(backend.arm(deadline)) == 0);
    CHECK(waitFor(backend, near, timeout) == Ready::none);
    CHECK(world.now() >= deadline);
    CHECK(errorOf(backend.update(near, Ready::read, Ready::write)) == 0);
  }
}

CONFORMS("an armed deadline ends one wait when it comes, not earlier and not twice") {
  const Instant deadline = world.now() + 1'300'000ns;
  CHECK(errorOf(backend.arm(deadline)) == 0);
  CHECK(waitFor(backend, -1, Timeout()) == Ready::none);
  CHECK(world.now() >= deadline);
  const Instant start = world.now();
  CHECK(waitFor(backend, -1, 2ms) == Ready::none);
  CHECK(world.now() - start >= 2ms);
}

CONFORMS("a deadline that has passed already ends the next wait") {
  for (const Instant deadline : {world.now(), Instant{}}) {
    CHECK(errorOf(backend.arm(deadline)) == 0);
    CHECK(waitFor(backend, -1, Timeout()) == Ready::none);
  }
}

CONFORMS("arming again replaces the deadline, sooner or later") {
  CHECK(errorOf(backend.arm(kNever)) == 0);
  const Instant sooner = world.now() + 1ms;
  CHECK(errorOf(backend.arm(sooner)) == 0);
  CHECK(waitFor(backend, -1, Timeout()) == Ready::none);
  CHECK(world.now() >= sooner);
  CHECK(errorOf(backend.arm(world.now() + 1ms)) == 0);
  const Instant later = world.now() + 4ms;
  CHECK(errorOf(backend.arm(later)) == 0);
  CHECK(waitFor(backend, -1, Timeout()) == Ready::none);
  CHECK(world.now() >= later);
}

CONFORMS("a disarmed deadline ends no wait, even when it had come") {
  for (const Instant deadline : {world.now() + 1ms, Instant{}}) {
    CHECK(errorOf(backend.arm(deadline)) == 0);
    CHECK(errorOf(backend.arm(std::nullopt)) == 0);
    const Instant start = world.now();
    CHECK(waitFor(backend, -1, 2ms) == Ready::none);
    CHECK(world.now() - start >= 2ms);
  }
}

CONFORMS("what is ready is told though a deadline has come") {
  const auto [near, far] = world.connect();
  CHECK(world.send(far, 1));
  watch(backend, near, Ready::read);
  CHECK(errorOf(backend.arm(Instant{})) == 0);
  CHECK(waitFor(backend, near) == Ready::read);
}

}  // namespace
