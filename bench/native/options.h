#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "protocol.h"
#include "target.h"

namespace ioloop::bench {

/** How long a phase lasts: so many operations, or where that is 0, so many seconds. */
struct Extent {
  double seconds = 0;
  std::uint64_t operations = 0;
};

/** What one run of a generator does; each takes what it has a use for. */
struct Options {
  std::optional<Target> target;
  const ProtocolRow* protocol = nullptr;
  int type = SOCK_DGRAM;  // of sockets that keep message borders
  std::size_t connections = 50;
  std::size_t idle = 0;
  std::size_t size = 64;
  std::size_t pipeline = 1;
  Extent warmUp{.seconds = 0.5};
  Extent counted{.seconds = 3};
  pid_t serverPid = 0;  // 0: no server CPU is read
  int cpu = -1;         // -1: not pinned
  std::uint64_t seed = 1;

  /** Nothing when the arguments make no sense: what is wrong then stands on stderr. */
  static std::optional<Options> parse(int argc, char** argv);
};

}  // namespace ioloop::bench
