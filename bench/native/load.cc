// ioloop-load: the load generator of the benchmarks. One thread, epoll, every byte checked.
//
// Prints one line of JSON and exits 0. Exits 1 when a byte was wrong, a connection ended or the
// server stalled, and 2 when its arguments make no sense: a figure is printed only for a run in
// which the server gave every answer.

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <deque>

#include "connection.h"
#include "generator.h"
#include "measurement.h"

namespace ioloop::bench {
namespace {

/** Everything that is read at both ends of the counted interval. */
struct Reading {
  SteadyTime time;
  std::chrono::nanoseconds generatorCpu{0};
  std::chrono::nanoseconds serverCpu{0};
  CpuSplit serverSplit;
};

class Load {
 public:
  explicit Load(const Options& options) : options_(options), set_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!set_) fail("epoll_create1");
    if (options.serverPid != 0) serverClock_ = CpuClock::of(options.serverPid);
    if (options.serverPid != 0 && !serverClock_) fail("no process has that --server-pid");
    for (std::size_t i = 0; i < options.connections + options.idle; ++i) {
      const std::uint64_t seed = options.seed + i * 0x1'0000'0001U;
      connections_.emplace_back(*options.target, options.protocol->create(options.size, seed),
                                options.pipeline, i);
    }
  }

  void run() {
    touchIdle();
    for (std::size_t i = 0; i < options_.connections; ++i)
      check(connections_[i].start(set_.get(), i));
    runPhase(options_.warmUp);
    latencies_.clear();
    const Reading before = read();
    const std::uint64_t operations = runPhase(options_.counted);
    const Reading after = read();
    touchIdle();
    print(operations, before, after);
  }

 private:
  /** Idle connections count only when the server serves them: each must answer a request. */
  void touchIdle() {
    errno = 0;
    for (std::size_t i = options_.connections; i < connections_.size(); ++i)
      check(connections_[i].roundTrip());
  }

  /** Serves the active connections for that long. Returns how many operations finished. */
  std::uint64_t runPhase(const Extent& extent) {
    constexpr int kStallMs = 10'000;
    std::uint64_t finished = 0;
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                               std::chrono::duration<double>(extent.seconds));
    for (;;) {
      if (extent.operations > 0 ? finished >= extent.operations
                                : std::chrono::steady_clock::now() >= end)
        return finished;
      const int count =
          ::epoll_wait(set_.get(), events_.data(), static_cast<int>(events_.size()), kStallMs);
      errno = count == 0 ? ETIMEDOUT : errno;
      if (count <= 0) fail("the server owes answers and sends none");
      for (const epoll_event& event : std::span(events_).first(static_cast<std::size_t>(count))) {
        errno = 0;
        const Progress progress = connections_[event.data.u64].serve(event.events);
        check(progress.failure);
        latencies_.add(progress.latency, progress.finished);
        finished += progress.finished;
      }
    }
  }

  Reading read() const {
    Reading reading;
    reading.time = std::chrono::steady_clock::now();
    reading.generatorCpu = CpuClock::own().now().value_or(std::chrono::nanoseconds{0});
    if (!serverClock_) return reading;
    const auto serverCpu = serverClock_->now();
    const auto serverSplit = CpuSplit::of(options_.serverPid);
    if (!serverCpu || !serverSplit) fail("the server process has ended");
    reading.serverCpu = *serverCpu;
    reading.serverSplit = *serverSplit;
    return reading;
  }

  void print(std::uint64_t operations, const Reading& before, const Reading& after) const {
    using Microseconds = std::chrono::duration<double, std::micro>;
    const double seconds = std::chrono::duration<double>(after.time - before.time).count();
    const auto count = static_cast<double>(operations);
    std::printf(
        "{\"protocol\":\"%.*s\",\"connections\":%zu,\"idle\":%zu,\"size\":%zu,"
        "\"pipeline\":%zu,\"operations\":%" PRIu64 ",\"seconds\":%.6f,",
        static_cast<int>(options_.protocol->name.size()), options_.protocol->name.data(),
        options_.connections, options_.idle, options_.size, options_.pipeline, operations, seconds);
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
    std::printf(
        "\"generatorCpu\":%.4f,\"opsPerSecond\":%.1f,\"latencyUs\":{\"p50\":%.3f,"
        "\"p90\":%.3f,\"p99\":%.3f,\"p99.9\":%.3f,\"max\":%.3f}}\n",
        ownUs / 1e6 / seconds, count / seconds, latencies_.percentileUs(0.5),
        latencies_.percentileUs(0.9), latencies_.percentileUs(0.99), latencies_.percentileUs(0.999),
        latencies_.maxUs());
  }

  const Options& options_;
  UniqueFd set_;
  std::optional<CpuClock> serverClock_;
  std::deque<Connection> connections_;  // active ones first, then idle ones
  std::array<epoll_event, 256> events_{};
  Histogram latencies_;
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static const Options options = startGenerator(argc, argv);
  static Load load(options);
  load.run();
  return 0;
}
