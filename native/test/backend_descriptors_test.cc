#include <fcntl.h>
#include <poll.h>

#include <cerrno>

#include "test/kernel_world.h"

// The part of the backends' contract that shows with real descriptors only: files that cannot be
// watched, duplicates, pollableFd() seen from outside, failing system calls.

namespace {

using namespace ioloop;
using namespace std::chrono_literals;

constexpr Ready kReadWrite = Ready::read | Ready::write;

KernelWorld& kernel(World& world) { return static_cast<KernelWorld&>(world); }

bool readable(int fd, int timeoutMs = 0) {
  pollfd entry{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&entry, 1, timeoutMs) == 1;
}

void watch(Backend& backend, int fd, Ready interest) {
  CHECK(errorOf(backend.update(fd, Ready::none, interest)) == 0);
}

/** Puts another table of system calls in force as long as it lives. */
class InForce {
 public:
  explicit InForce(const SysTable& table) : before_(installSys(table)) {}
  InForce(const InForce&) = delete;
  InForce& operator=(const InForce&) = delete;
  ~InForce() { installSys(before_); }

 private:
  const SysTable& before_;
};

// --- Ends of pipes and TCP connections ---

CONFORMS_ON_KERNEL("the end of a pipe is told as read") {
  const auto [near, far] = kernel(world).pipe();
  watch(backend, near, Ready::read);
  CHECK(waitFor(backend, near) == Ready::none);
  world.close(far);
  CHECK(has(waitFor(backend, near), Ready::read));
}

CONFORMS_ON_KERNEL("a pipe that nobody reads any more is told to its writer") {
  const auto [near, far] = kernel(world).pipe();
  watch(backend, far, Ready::write);
  world.close(near);
  const Ready ready = waitFor(backend, far);
  CHECK(has(ready, Ready::write));
  CHECK(has(ready, Ready::error | Ready::hangup) == world.tellsFailures());
}

CONFORMS_ON_KERNEL("512 bytes and the end of a TCP stream are told in this order") {
  const auto [near, far] = kernel(world).connectTcp();
  watch(backend, near, Ready::read);
  CHECK(world.send(far, 512));
  world.close(far);
  CHECK(has(waitFor(backend, near, kSoon), Ready::read));
  CHECK(world.receive(near, 512) == 512);
  CHECK(has(waitFor(backend, near, kSoon), Ready::read));
  CHECK(world.receive(near, 512) == 0);
}

CONFORMS_ON_KERNEL("a reset is told whatever was asked for, and as error where errors are told") {
  for (const Ready interest : {Ready::read, Ready::write, kReadWrite}) {
    const auto [near, far] = kernel(world).connectTcp();
    watch(backend, near, interest);
    kernel(world).reset(far);
    CHECK(readable(near, 10'000));
    const Ready ready = waitFor(backend, near, kSoon);
    CHECK(has(ready, interest));
    CHECK(has(ready, Ready::error) == world.tellsFailures());
    CHECK(world.receive(near, 1) == -ECONNRESET);
    CHECK(errorOf(backend.update(near, interest, Ready::none)) == 0);
  }
}

CONFORMS_ON_KERNEL(
    "urgent data wakes who asked for priority, once taken nobody, and never a reader") {
  const auto [near, far] = kernel(world).connectTcp();
  CHECK(::send(far, "!", 1, MSG_OOB) == 1);
  pollfd arrival{.fd = near, .events = POLLPRI, .revents = 0};
  CHECK(::poll(&arrival, 1, 10'000) == 1);
  watch(backend, near, Ready::read);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(!readable(backend.pollableFd()));
  CHECK(errorOf(backend.update(near, Ready::read, Ready::priority)) == 0);
  CHECK(waitFor(backend, near) == Ready::priority);
  char urgent = 0;
  CHECK(::recv(near, &urgent, 1, MSG_OOB) == 1);
  CHECK(waitFor(backend, near) == Ready::none);
}

CONFORMS_ON_KERNEL("a hang-up is told though only priority is watched") {
  const auto [near, far] = kernel(world).connectTcp();
  watch(backend, near, Ready::priority);
  kernel(world).reset(far);
  CHECK(readable(near, 10'000));
  // EVFILT_EXCEPT, which is all that kqueue has for this, tells urgent data alone.
  const bool told = has(waitFor(backend, near), Ready::error | Ready::hangup);
  CHECK(told == (backend.name() != "kqueue"));
}

// --- Rule 8: what cannot be watched ---

/** Whether the backend watches files that are always ready, as poll(2) and select(2) do. */
bool takesAnyFile(const Backend& backend) {
  return backend.name() == "poll" || backend.name() == "select";
}

CONFORMS_ON_KERNEL("a file without readiness is refused with EPERM or ready at any time") {
  for (const int fd : {kernel(world).regularFile(), kernel(world).open("/", O_DIRECTORY | O_RDONLY),
                       kernel(world).open("/dev/null", O_RDWR)}) {
    if (!takesAnyFile(backend)) {
      CHECK(errorOf(backend.update(fd, Ready::none, Ready::read)) == EPERM);
      CHECK(waitFor(backend, fd) == Ready::none);
      continue;
    }
    CHECK(!readable(backend.pollableFd()));
    watch(backend, fd, Ready::read);
    CHECK(waitFor(backend, fd, Timeout()) == Ready::read);
    CHECK(readable(backend.pollableFd()));
    CHECK(errorOf(backend.update(fd, Ready::read, kReadWrite)) == 0);
    CHECK(waitFor(backend, fd) == kReadWrite);
    CHECK(errorOf(backend.update(fd, kReadWrite, Ready::priority)) == EPERM);
    CHECK(waitFor(backend, fd) == kReadWrite);
    CHECK(errorOf(backend.update(fd, kReadWrite, Ready::none)) == 0);
    CHECK(waitFor(backend, fd) == Ready::none);
    CHECK(!readable(backend.pollableFd()));
  }
}

CONFORMS_ON_KERNEL("a regular file is told from the next one under its number") {
  const int first = kernel(world).regularFile();
  const int spare = kernel(world).regularFile();
  const int error = errorOf(backend.update(first, Ready::none, Ready::read));
  CHECK(error == (takesAnyFile(backend) ? 0 : EPERM));
  const int again = errorOf(backend.update(first, Ready::none, Ready::read));
  CHECK(again == (takesAnyFile(backend) ? EEXIST : EPERM));
  CHECK(sys().dup3(spare, first, O_CLOEXEC) == first);
  CHECK(errorOf(backend.update(first, Ready::none, Ready::read)) == error);
  // And from a socket, both ways.
  world.close(first);
  const auto [near, far] = world.connectOn(first);
  watch(backend, near, Ready::read);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(!readable(backend.pollableFd()));
  CHECK(sys().dup3(spare, near, O_CLOEXEC) == near);
  CHECK(errorOf(backend.update(near, Ready::none, Ready::write)) == error);
}

CONFORMS_ON_KERNEL("a number that an fd_set has no room for is EINVAL on select only") {
  const auto [near, far] = world.connect();
  CHECK(world.send(far, 1));
  const int last = kernel(world).duplicate(near, FD_SETSIZE - 1);
  const int beyond = kernel(world).duplicate(near, FD_SETSIZE);
  REQUIRE(last == FD_SETSIZE - 1);
  watch(backend, last, Ready::read);
  CHECK(waitFor(backend, last) == Ready::read);
  const bool small = backend.name() == "select";
  CHECK(errorOf(backend.update(beyond, Ready::none, Ready::read)) == (small ? EINVAL : 0));
  CHECK(waitFor(backend, beyond) == (small ? Ready::none : Ready::read));
  CHECK(waitFor(backend, last) == Ready::read);
  CHECK(errorOf(backend.update(last, Ready::read, Ready::none)) == 0);
  CHECK(waitFor(backend, last) == Ready::none);
}

// --- Duplicates ---

CONFORMS_ON_KERNEL("a duplicate that outlives its original brings no event to the reused number") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  const int copy = kernel(world).duplicate(near);
  CHECK(world.send(far, 1));
  world.close(near);
  static_cast<void>(backend.update(near, Ready::read, Ready::none));
  const auto [reused, peer] = world.connectOn(near);
  watch(backend, reused, Ready::read);
  CHECK(waitFor(backend, reused) == Ready::none);
  CHECK(world.send(peer, 1));
  CHECK(waitFor(backend, reused) == Ready::read);
  CHECK(world.receive(reused, 1) == 1);
  CHECK(waitFor(backend, reused) == Ready::none);
  CHECK(world.receive(copy, 1) == 1);
}

CONFORMS_ON_KERNEL("pollableFd() that a duplicate keeps readable is explained by an event") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  kernel(world).duplicate(near);
  CHECK(world.send(far, 1));
  world.close(near);
  if (world.tellsClosed()) CHECK(waitFor(backend, near) == Ready::error);
  // Without an event, the loop above would never learn what spins and rebuild the set.
  std::array<Event, 4> events;
  const auto count = backend.wait(events, kAtOnce);
  REQUIRE(count.has_value());
  CHECK(readable(backend.pollableFd()) == (*count > 0));
}

// --- pollableFd(), seen from outside ---

CONFORMS_ON_KERNEL("pollableFd() is readable exactly while there is something to tell") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(!readable(backend.pollableFd()));
  CHECK(world.send(far, 1));
  CHECK(readable(backend.pollableFd()));
  CHECK(waitFor(backend, near) == Ready::read);
  CHECK(readable(backend.pollableFd()));
  CHECK(world.receive(near, 1) == 1);
  CHECK(!readable(backend.pollableFd()));
  CHECK(errorOf(backend.update(near, Ready::read, kReadWrite)) == 0);
  CHECK(readable(backend.pollableFd()));
  CHECK(errorOf(backend.update(near, kReadWrite, Ready::none)) == 0);
  CHECK(!readable(backend.pollableFd()));
}

CONFORMS_ON_KERNEL("pollableFd() is readable from the deadline to the wait after it") {
  const Instant deadline = world.now() + 2ms;
  CHECK(errorOf(backend.arm(deadline)) == 0);
  CHECK(readable(backend.pollableFd(), 10'000));
  CHECK(world.now() >= deadline);
  CHECK(readable(backend.pollableFd()));
  CHECK(waitFor(backend, -1) == Ready::none);
  CHECK(!readable(backend.pollableFd()));
}

CONFORMS_ON_KERNEL("pollableFd() of a deadline disarmed or put off is not readable") {
  CHECK(errorOf(backend.arm(Instant{})) == 0);
  CHECK(readable(backend.pollableFd(), 10'000));
  CHECK(errorOf(backend.arm(kNever)) == 0);
  CHECK(!readable(backend.pollableFd()));
  CHECK(errorOf(backend.arm(Instant{})) == 0);
  CHECK(readable(backend.pollableFd(), 10'000));
  CHECK(errorOf(backend.arm(std::nullopt)) == 0);
  CHECK(!readable(backend.pollableFd()));
}

CONFORMS_ON_KERNEL("a deadline that came beside an event is told at most one wait later") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  CHECK(world.send(far, 1));
  CHECK(errorOf(backend.arm(Instant{})) == 0);
  CHECK(waitFor(backend, near, kSoon) == Ready::read);
  CHECK(world.receive(near, 1) == 1);
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(!readable(backend.pollableFd()));
}

CONFORMS_ON_KERNEL("every backend can be watched by every other") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::read);
  for (const BackendRow& row : backends()) {
    auto created = row.create();
    REQUIRE(created.has_value());
    Backend& outer = **created;
    watch(outer, backend.pollableFd(), Ready::read);
    CHECK(waitFor(outer, backend.pollableFd()) == Ready::none);
    CHECK(world.send(far, 1));
    CHECK(waitFor(outer, backend.pollableFd(), kSoon) == Ready::read);
    CHECK(readable(outer.pollableFd()));
    CHECK(world.receive(near, 1) == 1);
    CHECK(waitFor(outer, backend.pollableFd()) == Ready::none);
  }
}

// --- Rules 5 and 7: system calls that fail ---

CONFORMS_ON_KERNEL("a wait that a signal interrupts has no events and did not fail") {
  const auto [near, far] = world.connect();
  watch(backend, near, Ready::write);
  SysTable table = kKernel;
  table.poll = [](pollfd*, nfds_t, const timespec*) { return errno = EINTR, -1; };
  table.select = [](int, fd_set*, fd_set*, fd_set*, const timespec*) { return errno = EINTR, -1; };
  table.kevent = [](int, const struct kevent*, int, struct kevent*, int, const timespec*) {
    return errno = EINTR, -1;
  };
#if IOLOOP_HAS_EPOLL
  table.epollWait = [](int, epoll_event*, int, int) { return errno = EINTR, -1; };
  table.epollPwait2 = [](int, epoll_event*, int, const timespec*) { return errno = EINTR, -1; };
#endif
  {
    const InForce interrupted(table);
    for (const Timeout timeout : {Timeout(0ns), Timeout(100us), Timeout()}) {
      std::array<Event, 1> event;
      const auto count = backend.wait(event, timeout);
      REQUIRE(count.has_value());
      CHECK(*count == 0);
    }
  }
  CHECK(waitFor(backend, near) == Ready::write);
}

CONFORMS_ON_KERNEL("an update that the kernel has no memory for changes nothing") {
  const auto [near, far] = world.connect();
  const auto [other, peer] = world.connect();
  watch(backend, near, Ready::read);
  SysTable table = kKernel;
  table.kevent = [](int, const struct kevent*, int, struct kevent*, int, const timespec*) {
    return errno = ENOMEM, -1;
  };
#if IOLOOP_HAS_EPOLL
  table.epollCtl = [](int, int, int, epoll_event*) { return errno = ENOMEM, -1; };
#endif
  {
    const InForce exhausted(table);
    CHECK(errorOf(backend.update(other, Ready::none, Ready::write)) == ENOMEM);
    CHECK(errorOf(backend.update(near, Ready::read, kReadWrite)) == ENOMEM);
  }
  CHECK(waitFor(backend, near) == Ready::none);
  CHECK(waitFor(backend, other) == Ready::none);
  CHECK(errorOf(backend.update(other, Ready::write, Ready::read)) == ENOENT);
  CHECK(world.send(far, 1));
  CHECK(waitFor(backend, near) == Ready::read);
  watch(backend, other, Ready::write);
  CHECK(waitFor(backend, other) == Ready::write);
}

int descriptorsLeft = 0;

/** The result of `open`, or EMFILE once descriptorsLeft have been opened. */
template <typename Open>
int unlessExhausted(Open open) {
  if (descriptorsLeft-- <= 0) return errno = EMFILE, -1;
  return open();
}

CONFORMS_ON_KERNEL("without a descriptor left it is not made, says EMFILE and leaves none open") {
  SysTable table = kKernel;
  table.kqueue = [] { return unlessExhausted([] { return kKernel.kqueue(); }); };
#if IOLOOP_HAS_EPOLL
  table.epollCreate = [](int flags) {
    return unlessExhausted([&] { return kKernel.epollCreate(flags); });
  };
  table.timerfdCreate = [](clockid_t clock, int flags) {
    return unlessExhausted([&] { return kKernel.timerfdCreate(clock, flags); });
  };
#endif
  const InForce scarce(table);
  for (int budget = 0;; ++budget) {
    descriptorsLeft = budget;
    const auto created = world.createBackend();
    if (created) {
      CHECK(budget > 0);
      break;
    }
    CHECK(created.error().code == EMFILE);
  }
}

}  // namespace
