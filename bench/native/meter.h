#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>

#include "measurement.h"

namespace ioloop::bench {

/** Everything that is read at both ends of a counted interval. */
struct Reading {
  std::chrono::steady_clock::time_point time;
  std::chrono::nanoseconds generatorCpu{0};
  std::chrono::nanoseconds serverCpu{0};
  CpuSplit serverSplit;
};

/** Reads the clocks of the generator and of the server that it puts load on. */
class Meter {
 public:
  /** Of that process; 0: of no server. Ends the generator when there is no such process. */
  explicit Meter(pid_t server);

  /** Ends the generator when the server has ended. */
  Reading read() const;

  /**
   * Prints what stands between two readings as members of a JSON object, a comma behind the last:
   * the operations and what each cost.
   */
  void print(std::uint64_t operations, const Reading& before, const Reading& after) const;

 private:
  pid_t server_;
  std::optional<CpuClock> serverClock_;
};

/** Prints percentiles as the last member of a JSON object. */
void printLatencies(const Histogram& latencies);

}  // namespace ioloop::bench
