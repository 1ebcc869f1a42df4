#include "test/fault_injector.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string>
#include <thread>
#include <vector>

#include "core/unique_fd.h"
#include "test/check.h"

namespace ioloop {
namespace {

using Bytes = std::array<char, 100>;

/** The two ends of a socketpair(2). */
struct Ends {
  UniqueFd near;
  UniqueFd far;
};

Ends makeEnds() {
  std::array<int, 2> fds{-1, -1};
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds.data()) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TEST("the table before is in force again when the injector is gone") {
  const SysTable* before = &sys();
  {
    const FaultInjector faults(1);
    CHECK(&sys() != before);
  }
  CHECK(&sys() == before);
}

TEST("without faults every call goes through and is counted") {
  const Ends ends = makeEnds();
  FaultInjector faults(1);
  Bytes bytes{};
  CHECK(sys().send(ends.near.get(), bytes.data(), bytes.size(), 0) == 100);
  CHECK(sys().recv(ends.far.get(), bytes.data(), bytes.size(), 0) == 100);
  CHECK(faults.on<&SysTable::send>().calls() == 1);
  CHECK(faults.on<&SysTable::recv>().calls() == 1);
  CHECK(faults.on<&SysTable::recv>().faults() == 0);
  CHECK(faults.on<&SysTable::accept4>().calls() == 0);
}

TEST("the k-th call fails with its errno, once, and takes nothing") {
  const Ends ends = makeEnds();
  FaultInjector faults(1);
  Bytes bytes{};
  CHECK(sys().send(ends.near.get(), bytes.data(), 5, 0) == 5);
  faults.on<&SysTable::recv>().failCall(2, ECONNRESET);
  CHECK(sys().recv(ends.far.get(), bytes.data(), 1, 0) == 1);
  errno = 0;
  CHECK(sys().recv(ends.far.get(), bytes.data(), 1, 0) == -1);
  CHECK(errno == ECONNRESET);
  CHECK(sys().recv(ends.far.get(), bytes.data(), bytes.size(), 0) == 4);
  CHECK(faults.on<&SysTable::recv>().calls() == 3);
  CHECK(faults.on<&SysTable::recv>().faults() == 1);
}

TEST("an injector starts from nothing, whatever the one before it was told") {
  {
    FaultInjector faults(1);
    faults.on<&SysTable::fstat>().failRandomly(1, EIO);
    struct stat status{};
    CHECK(sys().fstat(0, &status) == -1);
  }
  FaultInjector faults(1);
  CHECK(faults.on<&SysTable::fstat>().calls() == 0);
  const Ends ends = makeEnds();
  struct stat status{};
  CHECK(sys().fstat(ends.near.get(), &status) == 0);
}

TEST("a failed close has freed the number all the same") {
  Ends ends = makeEnds();
  const int fd = ends.near.release();
  FaultInjector faults(1);
  faults.on<&SysTable::close>().failCall(1, EINTR);
  CHECK(sys().close(fd) == -1);
  CHECK(errno == EINTR);
  CHECK(::fcntl(fd, F_GETFD) == -1);
}

TEST("shortened calls move some bytes, never none, never others") {
  const Ends ends = makeEnds();
  FaultInjector faults(7);
  faults.on<&SysTable::send>().shortenRandomly(1);
  faults.on<&SysTable::recvmsg>().shortenRandomly(1);
  std::string sent;
  for (int i = 0; i < 100; ++i) sent.push_back(static_cast<char>(i));
  std::string received;
  std::size_t offset = 0;
  while (received.size() < sent.size()) {
    if (offset < sent.size()) {
      const auto size = sys().send(ends.near.get(), sent.data() + offset, sent.size() - offset, 0);
      REQUIRE(size > 0);
      offset += static_cast<std::size_t>(size);
    }
    Bytes left{};
    Bytes right{};
    std::array<iovec, 2> parts{iovec{left.data(), 3}, iovec{right.data(), right.size()}};
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = parts.size();
    const auto size = sys().recvmsg(ends.far.get(), &message, 0);
    if (size < 0 && errno == EAGAIN) continue;
    REQUIRE(size > 0 && size < 3);  // only some of the first part
    received.append(left.data(), static_cast<std::size_t>(size));
  }
  CHECK(received == sent);
  CHECK(faults.on<&SysTable::send>().faults() > 3);
}

#if defined(__linux__)
TEST("a reordered ready list holds the same events") {
  const UniqueFd set(sys().epollCreate(EPOLL_CLOEXEC));
  std::vector<Ends> all;
  for (int i = 0; i < 10; ++i) {
    all.push_back(makeEnds());
    epoll_event event{.events = EPOLLOUT, .data = {.u64 = static_cast<std::uint64_t>(i)}};
    REQUIRE(sys().epollCtl(set.get(), EPOLL_CTL_ADD, all.back().near.get(), &event) == 0);
  }
  FaultInjector faults(3);
  faults.on<&SysTable::epollWait>().reorderRandomly(1);
  bool outOfOrder = false;
  for (int turn = 0; turn < 20; ++turn) {
    std::array<epoll_event, 10> events{};
    REQUIRE(sys().epollWait(set.get(), events.data(), 10, 0) == 10);
    unsigned seen = 0;
    for (unsigned i = 0; i < 10; ++i) {
      seen |= 1U << events[i].data.u64;
      outOfOrder |= events[i].data.u64 != i;
    }
    CHECK(seen == 0x3ff);
  }
  CHECK(outOfOrder);
  CHECK(faults.on<&SysTable::epollWait>().faults() == 20);
}
#endif

#if defined(__linux__)
TEST("a repeated event is one of before, on top of what is ready") {
  const UniqueFd set(sys().epollCreate(EPOLL_CLOEXEC));
  const Ends ends = makeEnds();
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 7}};
  REQUIRE(sys().epollCtl(set.get(), EPOLL_CTL_ADD, ends.near.get(), &event) == 0);
  FaultInjector faults(3);
  faults.on<&SysTable::epollWait>().repeatRandomly(1);
  std::array<epoll_event, 4> events{};
  CHECK(sys().epollWait(set.get(), events.data(), 4, 0) == 0);
  REQUIRE(sys().send(ends.far.get(), "!", 1, 0) == 1);
  CHECK(sys().epollWait(set.get(), events.data(), 4, 0) == 1);
  Bytes bytes{};
  REQUIRE(sys().recv(ends.near.get(), bytes.data(), bytes.size(), 0) == 1);
  CHECK(sys().epollWait(set.get(), events.data(), 4, 0) == 1);
  CHECK(events[0].data.u64 == 7);
  CHECK(sys().epollWait(set.get(), events.data(), 0, 0) == -1);  // EINVAL: nothing is added to it
}
#endif

TEST("one entry fails in several ways, each as often as it was told") {
  FaultInjector faults(9);
  EntryFaults& reads = faults.on<&SysTable::read>();
  reads.failRandomly(0.2, EAGAIN);
  reads.failRandomly(0.1, EINTR);
  reads.failRandomly(0.5, EIO);
  reads.failRandomly(0, EIO);
  int again = 0;
  int interrupted = 0;
  char byte = 0;
  for (int call = 0; call < 10'000; ++call) {
    REQUIRE(sys().read(-1, &byte, 1) == -1);
    again += errno == EAGAIN ? 1 : 0;
    interrupted += errno == EINTR ? 1 : 0;
    CHECK(errno != EIO);
  }
  CHECK(again > 1800 && again < 2200);
  CHECK(interrupted > 850 && interrupted < 1150);
  CHECK(reads.faults() == static_cast<std::uint64_t>(again + interrupted));
}

TEST("entries are found by their names") {
  FaultInjector faults(1);
  CHECK(FaultInjector::find("recv") == &faults.on<&SysTable::recv>());
  CHECK(FaultInjector::find("accept4") == &faults.on<&SysTable::accept4>());
  CHECK(FaultInjector::find("recvfrom") == nullptr);
}

/** Which of 1,000 calls failed. */
std::vector<bool> pattern(FaultInjector& faults) {
  faults.on<&SysTable::clockGettime>().failRandomly(0.3, EAGAIN);
  std::vector<bool> failed;
  timespec now{};
  for (int i = 0; i < 1000; ++i) failed.push_back(sys().clockGettime(CLOCK_MONOTONIC, &now) < 0);
  return failed;
}

std::vector<bool> patternOf(std::uint64_t seed, std::uint64_t thread) {
  FaultInjector faults(seed);
  faults.seedThread(thread);
  return pattern(faults);
}

TEST("one seed gives one pattern, another seed or thread another") {
  CHECK(patternOf(1, 0) == patternOf(1, 0));
  CHECK(patternOf(1, 0) != patternOf(2, 0));
  CHECK(patternOf(1, 0) != patternOf(1, 1));
  const auto failed = patternOf(1, 0);
  const auto count = std::ranges::count(failed, true);
  CHECK(count > 220 && count < 380);
}

TEST("threads draw apart and count together") {
  constexpr int kThreads = 4;
  constexpr std::uint64_t kCalls = 1'000'000;
  FaultInjector faults(5);
  faults.on<&SysTable::read>().failRandomly(1, EAGAIN);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i)
    threads.emplace_back([] {
      char byte = 0;
      for (std::uint64_t call = 0; call < kCalls; ++call) (void)sys().read(-1, &byte, 1);
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(faults.on<&SysTable::read>().calls() == kThreads * kCalls);
  CHECK(faults.on<&SysTable::read>().faults() == kThreads * kCalls);
}

}  // namespace
}  // namespace ioloop
