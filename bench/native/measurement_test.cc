#include "measurement.h"

#include <unistd.h>

#include <cmath>

#include "test/check.h"

using namespace ioloop::bench;
using std::chrono::microseconds;
using std::chrono::nanoseconds;

TEST("a percentile is within 0.8 % of the latency at its rank") {
  Histogram latencies;
  for (int us = 1; us <= 100'000; ++us) latencies.add(microseconds(us), 1);
  for (const double share : {0.001, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const double exact = std::ceil(share * 100'000);
    CHECK(std::abs(latencies.percentileUs(share) - exact) <= 0.008 * exact);
  }
  CHECK(latencies.maxUs() == 100'000);
}

TEST("a histogram takes any latency") {
  Histogram latencies;
  for (const nanoseconds latency : {nanoseconds(-1), nanoseconds(0), nanoseconds::max()})
    latencies.add(latency, 1);
  CHECK(latencies.percentileUs(0.5) == 0);
  const double longest = static_cast<double>(nanoseconds::max().count()) / 1e3;
  CHECK(std::abs(latencies.percentileUs(1) - longest) <= 0.008 * longest);
}

TEST("a cleared histogram knows nothing") {
  Histogram latencies;
  latencies.add(microseconds(5), 3);
  latencies.clear();
  CHECK(latencies.percentileUs(1) == 0);
  CHECK(latencies.maxUs() == 0);
}

TEST("the CPU clock of a process is the one the process reads itself") {
  const auto byPid = CpuClock::of(::getpid());
  REQUIRE(byPid.has_value());
  const auto before = CpuClock::own().now();
  const auto between = byPid->now();
  const auto after = CpuClock::own().now();
  REQUIRE(before && between && after);
  CHECK(*before <= *between);
  CHECK(*between <= *after);
}

TEST("a process that is not there has no CPU clock") {
  constexpr pid_t kBeyondPidMax = 1 << 23;  // proc(5): pid_max is 2^22 at most
  CHECK(!CpuClock::of(kBeyondPidMax));
  CHECK(!CpuSplit::of(kBeyondPidMax));
}

TEST("the user and system ticks of a busy process grow") {
  const auto before = CpuSplit::of(::getpid());
  REQUIRE(before.has_value());
  const auto start = CpuClock::own().now();
  REQUIRE(start.has_value());
  while (CpuClock::own().now().value_or(*start) - *start < std::chrono::milliseconds(50)) {
  }
  const auto after = CpuSplit::of(::getpid());
  REQUIRE(after.has_value());
  CHECK(after->userTicks + after->systemTicks >= before->userTicks + before->systemTicks + 3);
}
