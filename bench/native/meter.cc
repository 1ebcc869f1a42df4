#include "meter.h"

#include <unistd.h>

#include <cinttypes>
#include <cstdio>

#include "generator.h"

namespace ioloop::bench {

Meter::Meter(pid_t server) : server_(server) {
  if (server != 0) serverClock_ = CpuClock::of(server);
  if (server != 0 && !serverClock_) fail("no process has that --server-pid");
}

Reading Meter::read() const {
  Reading reading;
  reading.time = std::chrono::steady_clock::now();
  reading.generatorCpu = CpuClock::own().now().value_or(std::chrono::nanoseconds{0});
  if (!serverClock_) return reading;
  const auto serverCpu = serverClock_->now();
  const auto serverSplit = CpuSplit::of(server_);
  if (!serverCpu || !serverSplit) fail("the server process has ended");
  reading.serverCpu = *serverCpu;
  reading.serverSplit = *serverSplit;
  return reading;
}

void Meter::print(std::uint64_t operations, const Reading& before, const Reading& after) const {
  using Microseconds = std::chrono::duration<double, std::micro>;
  const double seconds = std::chrono::duration<double>(after.time - before.time).count();
  const auto count = static_cast<double>(operations);
  std::printf("\"operations\":%" PRIu64 ",\"seconds\":%.6f,", operations, seconds);
  if (serverClock_) {
    const double cpuUs = Microseconds(after.serverCpu - before.serverCpu).count();
    const double tickUs = 1e6 / static_cast<double>(::sysconf(_SC_CLK_TCK));
    const auto ticks = [&](std::uint64_t from, std::uint64_t to) {
      return static_cast<double>(to - from) * tickUs;
    };
    std::printf(
        "\"serverCpuUs\":%.3f,\"serverUserUs\":%.0f,\"serverSystemUs\":%.0f,"
        "\"cpuUsPerOp\":%.5f,\"serverCpu\":%.4f,",
        cpuUs, ticks(before.serverSplit.userTicks, after.serverSplit.userTicks),
        ticks(before.serverSplit.systemTicks, after.serverSplit.systemTicks), cpuUs / count,
        cpuUs / 1e6 / seconds);
  }
  const double ownUs = Microseconds(after.generatorCpu - before.generatorCpu).count();
  std::printf(R"("generatorCpu":%.4f,"opsPerSecond":%.1f,)", ownUs / 1e6 / seconds,
              count / seconds);
}

void printLatencies(const Histogram& latencies) {
  std::printf(R"("latencyUs":{"p50":%.3f,"p90":%.3f,"p99":%.3f,"p99.9":%.3f,"max":%.3f})",
              latencies.percentileUs(0.5), latencies.percentileUs(0.9),
              latencies.percentileUs(0.99), latencies.percentileUs(0.999), latencies.maxUs());
}

}  // namespace ioloop::bench
