#include "core/backends.h"

#if IOLOOP_HAS_KQUEUE

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <memory>
#include <optional>
#include <span>

#include "core/sys.h"
#include "core/unique_fd.h"
#include "test/check.h"

// What is particular to kqueue; the contract that it shares is in backend_conformance_test.cc.
namespace {

using namespace ioloop;

constexpr Ready kReadWrite = Ready::read | Ready::write;

/** A kqueue and a connected pair of sockets, of which it may watch `near`. */
struct Fixture {
  std::unique_ptr<Backend> backend = std::move(findBackend("kqueue")->create().value());
  UniqueFd near;
  UniqueFd far;

  Fixture() {
    std::array<int, 2> fds{};
    ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data());
    near = UniqueFd(fds[0]);
    far = UniqueFd(fds[1]);
  }

  int update(Ready before, Ready after) {
    const Status status = backend->update(near.get(), before, after);
    return status ? 0 : status.error().code;
  }

  /** What a wait that does not wait tells of `near`. */
  Ready ready() {
    std::array<Event, 4> events;
    const auto count = backend->wait(events, std::chrono::nanoseconds{0});
    CHECK(count && *count <= 1);
    return count && *count == 1 ? events[0].ready : Ready::none;
  }

  void send() { CHECK(sys().send(far.get(), "a", 1, 0) == 1); }
};

/** Has kevent(2) refuse to add one filter, as long as it lives. */
class Refusal {
 public:
  explicit Refusal(int filter) : previous_(installSys(table_)) { refused_ = filter; }
  ~Refusal() { installSys(previous_); }
  Refusal(const Refusal&) = delete;
  Refusal& operator=(const Refusal&) = delete;

 private:
  static int refuse(int set, const struct kevent* changes, int changeCount, struct kevent* events,
                    int eventCount, const timespec* timeout) {
    if (changeCount == 0) return kKernel.kevent(set, changes, 0, events, eventCount, timeout);
    for (int index = 0; index < changeCount; ++index) {
      struct kevent change = changes[index];
      if (change.filter == refused_ && (change.flags & EV_ADD) != 0) {
        change.flags = EV_ERROR;
        change.data = ENOMEM;
        events[index] = change;
      } else {
        CHECK(kKernel.kevent(set, &change, 1, &events[index], 1, timeout) == 1);
      }
    }
    return changeCount;
  }

  static inline int refused_ = 0;
  static inline const SysTable table_ = [] {
    SysTable table = kKernel;
    table.kevent = refuse;
    return table;
  }();
  const SysTable& previous_;
};

/** Has the clock stand still, as long as it lives; the kernel's timers go on. */
class StoppedClock {
 public:
  StoppedClock() : previous_(installSys(table_)) { kKernel.clockGettime(CLOCK_MONOTONIC, &now_); }
  ~StoppedClock() { installSys(previous_); }
  StoppedClock(const StoppedClock&) = delete;
  StoppedClock& operator=(const StoppedClock&) = delete;

 private:
  static int read(clockid_t, timespec* now) {
    *now = now_;
    return 0;
  }

  static inline timespec now_{};
  static inline const SysTable table_ = [] {
    SysTable table = kKernel;
    table.clockGettime = read;
    return table;
  }();
  const SysTable& previous_;
};

TEST("a deadline that the kernel told of early is told of again") {
  Fixture fixture;
  pollfd entry{fixture.backend->pollableFd(), POLLIN, 0};
  {
    const StoppedClock clock;
    REQUIRE(fixture.backend->arm(monotonicNow() + std::chrono::milliseconds{1}).has_value());
    for (int round = 0; round < 3; ++round) {
      REQUIRE(::poll(&entry, 1, 10'000) == 1);
      CHECK(fixture.ready() == Ready::none);
    }
  }
  REQUIRE(::poll(&entry, 1, 10'000) == 1);
  CHECK(fixture.ready() == Ready::none);
  CHECK(::poll(&entry, 1, 0) == 0);
}

TEST("an add of which one filter is refused leaves nothing watched") {
  for (const int filter : {EVFILT_READ, EVFILT_WRITE}) {
    Fixture fixture;
    fixture.send();
    {
      const Refusal refusal(filter);
      CHECK(fixture.update(Ready::none, kReadWrite) == ENOMEM);
    }
    CHECK(fixture.ready() == Ready::none);
    CHECK(fixture.update(kReadWrite, Ready::read) == ENOENT);
    CHECK(fixture.update(Ready::none, kReadWrite) == 0);
    CHECK(fixture.ready() == kReadWrite);
  }
}

TEST("a change of which one filter is refused keeps what was watched, and how") {
  Fixture fixture;
  REQUIRE(fixture.update(Ready::none, Ready::read | Ready::edge) == 0);
  {
    const Refusal refusal(EVFILT_WRITE);
    CHECK(fixture.update(Ready::read | Ready::edge, Ready::write) == ENOMEM);
    CHECK(fixture.update(Ready::read | Ready::edge, kReadWrite) == ENOMEM);
  }
  fixture.send();
  CHECK(fixture.ready() == Ready::read);
  CHECK(fixture.ready() == Ready::none);
}

TEST("a one-shot that fired stays silent through an update that fails") {
  Fixture fixture;
  constexpr Ready kOnce = Ready::read | Ready::oneShot;
  fixture.send();
  REQUIRE(fixture.update(Ready::none, kOnce) == 0);
  CHECK(fixture.ready() == Ready::read);
  {
    const Refusal refusal(EVFILT_WRITE);
    CHECK(fixture.update(kOnce, kOnce | Ready::write) == ENOMEM);
    CHECK(fixture.update(kOnce, Ready::write) == ENOMEM);
  }
  CHECK(fixture.ready() == Ready::none);
  CHECK(fixture.update(Ready::none, kOnce) == EEXIST);
  CHECK(fixture.ready() == Ready::none);
  CHECK(fixture.update(kOnce, kOnce) == 0);
  CHECK(fixture.ready() == Ready::read);
}

TEST("a one-shot is silent as a whole, whichever of its filters fired") {
  Fixture fixture;
  constexpr Ready kOnce = kReadWrite | Ready::oneShot;
  REQUIRE(fixture.update(Ready::none, kOnce) == 0);
  CHECK(fixture.ready() == Ready::write);
  fixture.send();
  CHECK(fixture.ready() == Ready::none);
  CHECK(fixture.update(kOnce, kOnce) == 0);
  CHECK(fixture.ready() == kReadWrite);
  CHECK(fixture.ready() == Ready::none);
}

TEST("a mode that changes takes effect though the kernel knows the filter") {
  Fixture fixture;
  fixture.send();
  REQUIRE(fixture.update(Ready::none, Ready::read) == 0);
  REQUIRE(fixture.update(Ready::read, Ready::read | Ready::edge) == 0);
  CHECK(fixture.ready() == Ready::read);
  CHECK(fixture.ready() == Ready::none);
  REQUIRE(fixture.update(Ready::read | Ready::edge, Ready::read) == 0);
  CHECK(fixture.ready() == Ready::read);
  CHECK(fixture.ready() == Ready::read);
}

TEST("a change of a number that was closed and reused is ENOENT and adds nothing") {
  Fixture fixture;
  REQUIRE(fixture.update(Ready::none, Ready::read) == 0);
  REQUIRE(sys().dup3(fixture.far.get(), fixture.near.get(), O_CLOEXEC) == fixture.near.get());
  CHECK(fixture.update(Ready::read, Ready::write) == ENOENT);
  CHECK(fixture.update(Ready::read, kReadWrite) == ENOENT);
  CHECK(fixture.ready() == Ready::none);
}

TEST("the end of writing is a hang-up, the end of reading is told by reading it") {
  Fixture fixture;
  {
    const UniqueFd gone = std::move(fixture.far);
  }
  REQUIRE(fixture.update(Ready::none, Ready::read) == 0);
  CHECK(fixture.ready() == Ready::read);
  REQUIRE(fixture.update(Ready::read, Ready::write) == 0);
  CHECK(fixture.ready() == (Ready::write | Ready::hangup));
}

TEST("what no filter can watch is refused") {
  Fixture fixture;
  CHECK(fixture.update(Ready::none, Ready::read | Ready::exclusive) == ENOTSUP);
  CHECK(fixture.update(Ready::none, Ready::hangup) == EINVAL);
  CHECK(fixture.update(Ready::none, Ready::read) == 0);
}

TEST("the set is closed by execve(2)") {
  Fixture fixture;
  CHECK((sys().fcntl(fixture.backend->pollableFd(), F_GETFD, 0) & FD_CLOEXEC) != 0);
}

}  // namespace

#endif
