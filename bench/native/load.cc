// ioloop-load: the load generator of the benchmarks. One thread, epoll, every byte checked.
//
// Prints one line of JSON and exits 0. Exits 1 when a byte was wrong, a connection ended or the
// server stalled, and 2 when its arguments make no sense: a figure is printed only for a run in
// which the server gave every answer.

#include <sys/epoll.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>

#include "connection.h"
#include "generator.h"
#include "meter.h"

namespace ioloop::bench {
namespace {

class Load {
 public:
  explicit Load(const Options& options)
      : options_(options), set_(::epoll_create1(EPOLL_CLOEXEC)), meter_(options.serverPid) {
    if (!set_) fail("epoll_create1");
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
    const Reading before = meter_.read();
    const std::uint64_t operations = runPhase(options_.counted);
    const Reading after = meter_.read();
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

  void print(std::uint64_t operations, const Reading& before, const Reading& after) const {
    std::printf(
        "{\"protocol\":\"%.*s\",\"connections\":%zu,\"idle\":%zu,\"size\":%zu,\"pipeline\":%zu,",
        static_cast<int>(options_.protocol->name.size()), options_.protocol->name.data(),
        options_.connections, options_.idle, options_.size, options_.pipeline);
    meter_.print(operations, before, after);
    printLatencies(latencies_);
    std::puts("}");
  }

  const Options& options_;
  UniqueFd set_;
  Meter meter_;
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
