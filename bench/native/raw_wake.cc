/**
 * The limit of bench/waker.ts: a thread wakes another that sleeps in epoll_wait(2), by an
 * eventfd(2).
 *
 *   ioloop-raw-wake COUNT
 *
 * One wake-up at a time, a pause before each for the sleeper to fall asleep. Prints the figures
 * that the other contenders print.
 */
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kPause = std::chrono::microseconds{200};

double cpuUs() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto us = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return us(used.ru_utime) + us(used.ru_stime);
}

/** Wakes whoever watches `event`, and waits each time until that was seen. */
void wakeOneByOne(int event, std::size_t count, std::atomic<Clock::rep>& sentAt,
                  std::atomic<std::size_t>& seen) {
  for (std::size_t sent = 1; sent <= count; ++sent) {
    sentAt = Clock::now().time_since_epoch().count();
    const std::uint64_t one = 1;
    if (::write(event, &one, sizeof one) != sizeof one) std::abort();
    for (std::size_t now = seen; now < sent; now = seen) seen.wait(now);
    std::this_thread::sleep_for(kPause);
  }
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc == 2 ? std::strtoul(argv[1], nullptr, 10) : 0;
  if (count < 2) {
    std::fprintf(stderr, "usage: %s COUNT, at least 2\n", argv[0]);
    return 2;
  }
  const int set = ::epoll_create1(EPOLL_CLOEXEC);
  const int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  epoll_event interest{.events = EPOLLIN, .data = {.fd = event}};
  if (set < 0 || event < 0 || ::epoll_ctl(set, EPOLL_CTL_ADD, event, &interest) < 0) {
    std::perror("ioloop-raw-wake");
    return 1;
  }
  std::atomic<Clock::rep> sentAt{0};
  std::atomic<std::size_t> seen{0};
  std::vector<double> tookUs;
  tookUs.reserve(count);
  std::thread worker([&] { wakeOneByOne(event, count, sentAt, seen); });
  double cpuBefore = 0;
  while (tookUs.size() < count) {
    epoll_event ready{};
    std::uint64_t wakes = 0;
    if (::epoll_wait(set, &ready, 1, -1) != 1) continue;
    if (::read(event, &wakes, sizeof wakes) != sizeof wakes || wakes != 1) std::abort();
    const Clock::duration took{Clock::now().time_since_epoch().count() - sentAt};
    tookUs.push_back(std::chrono::duration<double, std::micro>(took).count());
    if (tookUs.size() == 1) cpuBefore = cpuUs();
    seen = tookUs.size();
    seen.notify_one();
  }
  const double cpu = (cpuUs() - cpuBefore) / static_cast<double>(count - 1);
  worker.join();
  std::ranges::sort(tookUs);
  const auto at = [&](double share) {
    return tookUs[static_cast<std::size_t>(share * static_cast<double>(count - 1))];
  };
  std::printf("{\"p50Us\":%.3f,\"p99Us\":%.3f,\"cpuUs\":%.3f}\n", at(0.5), at(0.99), cpu);
  return 0;
}
