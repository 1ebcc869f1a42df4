#include "core/waker.h"

#include <poll.h>
#include <signal.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "test/check.h"
#include "test/fault_injector.h"

namespace ioloop {
namespace {

bool readable(const Waker& waker, int timeoutMs = 0) {
  pollfd entry{waker.fd(), POLLIN, 0};
  int count = 0;
  do count = ::poll(&entry, 1, timeoutMs);
  while (count < 0 && errno == EINTR);
  return count == 1 && (entry.revents & POLLIN) != 0;
}

/** Longer than anything here takes: a wait that reaches it has lost its wake. */
constexpr int kLostMs = 30'000;

/** What a waker exists for: a queue that others fill, and that the loop empties when woken. */
void losesNoWake(Waker::Kind kind) {
  constexpr int kThreads = 8;
  constexpr int kWakes = 1'000'000;
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  std::atomic<std::uint64_t> posted{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([&] {
      for (int wake = 0; wake < kWakes; ++wake) {
        posted.fetch_add(1, std::memory_order_relaxed);
        waker->wake();
      }
    });
  std::uint64_t seen = 0;
  std::uint64_t turns = 0;
  while (seen < std::uint64_t{kThreads} * kWakes) {
    if (!readable(*waker, kLostMs)) break;
    waker->drain();
    seen = posted.load(std::memory_order_relaxed);
    ++turns;
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(seen == std::uint64_t{kThreads} * kWakes);
  CHECK(turns >= 1);
}

/** Plain data handed over by wake and drain alone; ThreadSanitizer is the judge. */
void publishesWhatWasPrepared(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  auto acknowledged = Waker::create(kind);
  REQUIRE(acknowledged.has_value());
  constexpr int kRounds = 20'000;
  int message = 0;  // no atomic on purpose
  std::thread poster([&] {
    for (int round = 1; round <= kRounds; ++round) {
      message = round;
      waker->wake();
      if (!readable(*acknowledged, kLostMs)) return;
      acknowledged->drain();
    }
  });
  int lost = 0;
  for (int round = 1; round <= kRounds && lost == 0; ++round) {
    if (!readable(*waker, kLostMs)) ++lost;
    waker->drain();
    if (message != round) ++lost;
    acknowledged->wake();
  }
  poster.join();
  CHECK(lost == 0);
}

// A poster that begins and ends its wake inside a drain, after the drain has read. Relaxed, so that
// nothing but the waker orders the two threads.
std::atomic<bool> posterMayRun{false};
std::atomic<bool> posterIsDone{false};

ssize_t readThenLetPost(int fd, void* target, std::size_t size) {
  const ssize_t result = ::read(fd, target, size);
  const int saved = errno;
  posterMayRun.store(true, std::memory_order_relaxed);
  while (!posterIsDone.load(std::memory_order_relaxed)) std::this_thread::yield();
  errno = saved;
  return result;
}

void publishesInTheMiddleOfADrain(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  posterMayRun = posterIsDone = false;
  int message = 0;  // no atomic on purpose
  std::thread poster([&] {
    while (!posterMayRun.load(std::memory_order_relaxed)) std::this_thread::yield();
    message = 1;
    waker->wake();
    posterIsDone.store(true, std::memory_order_relaxed);
  });
  waker->wake();
  SysTable table = sys();
  table.read = readThenLetPost;
  const SysTable& before = installSys(table);
  waker->drain();
  CHECK(message == 1);
  installSys(before);
  poster.join();
  CHECK(!readable(*waker));
}

void writesOnceForManyWakes(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  FaultInjector counts(1);
  for (int round = 1; round <= 3; ++round) {
    for (int wake = 0; wake < 1000; ++wake) waker->wake();
    CHECK(counts.on<&SysTable::write>().calls() == static_cast<std::uint64_t>(round));
    CHECK(readable(*waker));
    waker->drain();
    CHECK(counts.on<&SysTable::read>().calls() == static_cast<std::uint64_t>(round));
    CHECK(!readable(*waker));
  }
}

/** Foreign code writes past the flag until nothing fits any more. */
void neverBlocksWhenFull(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  const std::uint64_t most = kind == Waker::Kind::eventfd ? ~std::uint64_t{0} - 1 : 1;
  int written = 0;
  while (::write(waker->writeFd(), &most, sizeof most) == sizeof most) ++written;
  CHECK(errno == EAGAIN);
  CHECK(written >= 1);
  waker->wake();
  CHECK(readable(*waker));
  waker->drain();
  CHECK(!readable(*waker));
  waker->wake();
  CHECK(readable(*waker));
}

void keepsErrno(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  FaultInjector faults(1);
  faults.on<&SysTable::write>().failCall(1, EINTR);
  errno = ENOTTY;
  waker->wake();
  CHECK(errno == ENOTTY);
  CHECK(faults.on<&SysTable::write>().calls() == 2);
  CHECK(readable(*waker));
  waker->drain();
  faults.on<&SysTable::write>().failCall(1, EAGAIN);
  waker->wake();
  CHECK(errno == ENOTTY);
}

void drainsThroughInterruptions(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  waker->wake();
  FaultInjector faults(1);
  faults.on<&SysTable::read>().failCall(1, EINTR);
  waker->drain();
  CHECK(!readable(*waker));
  waker->wake();
  CHECK(readable(*waker));
}

Waker* signalled = nullptr;
std::atomic<int> signals{0};
std::atomic<int> spoiltErrnos{0};

void wakeFromSignal(int) {
  const int saved = errno;
  errno = ENOTTY;
  signalled->wake();
  if (errno != ENOTTY) ++spoiltErrnos;
  ++signals;
  errno = saved;
}

/** A thousand signals, a millisecond apart, most of them in the middle of a drain or a wake. */
void survivesSignals(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  signalled = &*waker;
  signals = spoiltErrnos = 0;
  struct sigaction action{};
  struct sigaction before{};
  action.sa_handler = wakeFromSignal;
  REQUIRE(::sigaction(SIGALRM, &action, &before) == 0);
  const itimerval everyMillisecond{.it_interval = {0, 1000}, .it_value = {0, 1000}};
  REQUIRE(::setitimer(ITIMER_REAL, &everyMillisecond, nullptr) == 0);
  int seen = 0;
  bool lost = false;
  while (seen < 1000 && !lost) {
    lost = !readable(*waker, kLostMs);
    waker->drain();
    seen = signals;
    waker->wake();  // an interrupted wake and the one that interrupts it
    waker->drain();
  }
  const itimerval stop{};
  ::setitimer(ITIMER_REAL, &stop, nullptr);
  ::sigaction(SIGALRM, &before, nullptr);
  CHECK(!lost);
  CHECK(spoiltErrnos == 0);
}

void endsWhileWoken(Waker::Kind kind) {
  for (int round = 0; round < 1000; ++round) {
    auto waker = Waker::create(kind);
    REQUIRE(waker.has_value());
    auto shared = std::make_shared<Waker>(std::move(*waker));
    std::thread other([shared] { shared->wake(); });
    shared->drain();
    shared.reset();
    other.join();
  }
}

void isCloseOnExec(Waker::Kind kind) {
  auto waker = Waker::create(kind);
  REQUIRE(waker.has_value());
  for (const int fd : {waker->fd(), waker->writeFd()}) {
    CHECK((::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK((::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
  }
}

void addTests(Waker::Kind kind, const std::string& with) {
  const auto add = [&](const char* sentence, void (*body)(Waker::Kind)) {
    check::add(sentence + (" (" + with + ")"), [=] { body(kind); });
  };
  add("eight threads, a million wakes each: none is lost", losesNoWake);
  add("what was written before a wake is visible after the drain", publishesWhatWasPrepared);
  add("so it is when the wake came in the middle of the drain", publishesInTheMiddleOfADrain);
  add("many wakes before a drain are one write, and a drain is one read", writesOnceForManyWakes);
  add("a wake into a full pipe neither blocks nor fails", neverBlocksWhenFull);
  add("a wake keeps errno and outlasts an interruption", keepsErrno);
  add("a drain outlasts an interruption", drainsThroughInterruptions);
  add("a thousand wakes from a signal handler: none is lost", survivesSignals);
  add("a waker may end right after another thread's wake", endsWhileWoken);
  add("its descriptors are close-on-exec and non-blocking", isCloseOnExec);
}

const bool added = check::generate([] {
  addTests(Waker::Kind::pipe, "pipe");
#if defined(__linux__)
  addTests(Waker::Kind::eventfd, "eventfd");
#endif
});

}  // namespace
}  // namespace ioloop
