#include "options.h"

#include <getopt.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string_view>

namespace ioloop::bench {
namespace {

constexpr const char* kUsage = R"(usage: ioloop-load|burst|hold|drip|messages|flood [options] TARGET
  TARGET                    127.0.0.1:8000, [::1]:8000, /a/path or @an-abstract-name
  --protocol NAME           echo (default), lines, accept
  --type NAME               of messages: datagram (default), seqpacket
  --connections N           active connections (50)
  --idle M                  further connections that prove alive before and after, else idle (0)
  --size BYTES              of a message; of a line with its line feed (64)
  --pipeline K              requests in flight on a connection; flood: messages of a send (1)
  --warmup SECONDS          not counted (0.5)      --warmup-operations N   instead
  --seconds SECONDS         counted (3)            --operations N          instead
  --server-pid PID          read that process's CPU time over the counted interval
  --cpu N                   run on this core alone
  --seed N                  of the random bytes (1)
)";

enum Option : int {
  kProtocol = 256,
  kType,
  kConnections,
  kIdle,
  kSize,
  kPipeline,
  kWarmUp,
  kWarmUpOperations,
  kSeconds,
  kOperations,
  kServerPid,
  kCpu,
  kSeed,
};

constexpr std::array kLongOptions{
    option{"protocol", required_argument, nullptr, kProtocol},
    option{"type", required_argument, nullptr, kType},
    option{"connections", required_argument, nullptr, kConnections},
    option{"idle", required_argument, nullptr, kIdle},
    option{"size", required_argument, nullptr, kSize},
    option{"pipeline", required_argument, nullptr, kPipeline},
    option{"warmup", required_argument, nullptr, kWarmUp},
    option{"warmup-operations", required_argument, nullptr, kWarmUpOperations},
    option{"seconds", required_argument, nullptr, kSeconds},
    option{"operations", required_argument, nullptr, kOperations},
    option{"server-pid", required_argument, nullptr, kServerPid},
    option{"cpu", required_argument, nullptr, kCpu},
    option{"seed", required_argument, nullptr, kSeed},
    option{nullptr, 0, nullptr, 0},
};

/** Reads a whole number from `least` up into `target`; false when `text` is none. */
template <typename T>
bool readNumber(std::string_view text, T least, T& target) noexcept {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least) return false;
  target = value;
  return true;
}

bool readSeconds(const char* text, double& target) noexcept {
  char* end = nullptr;
  const double value = std::strtod(text, &end);
  if (end == text || *end != '\0' || !std::isfinite(value) || value < 0) return false;
  target = value;
  return true;
}

const ProtocolRow* findProtocol(std::string_view name) noexcept {
  for (const ProtocolRow& row : protocols()) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

bool readType(std::string_view name, int& type) noexcept {
  type = name == "seqpacket" ? SOCK_SEQPACKET : SOCK_DGRAM;
  return name == "seqpacket" || name == "datagram";
}

bool take(Options& options, int name, const char* value) {
  switch (name) {
    case kProtocol:
      options.protocol = findProtocol(value);
      return options.protocol != nullptr;
    case kType:
      return readType(value, options.type);
    case kConnections:
      return readNumber<std::size_t>(value, 1, options.connections);
    case kIdle:
      return readNumber<std::size_t>(value, 0, options.idle);
    case kSize:
      return readNumber<std::size_t>(value, 1, options.size);
    case kPipeline:
      return readNumber<std::size_t>(value, 1, options.pipeline);
    case kWarmUp:
      return readSeconds(value, options.warmUp.seconds);
    case kWarmUpOperations:
      return readNumber<std::uint64_t>(value, 1, options.warmUp.operations);
    case kSeconds:
      return readSeconds(value, options.counted.seconds);
    case kOperations:
      return readNumber<std::uint64_t>(value, 1, options.counted.operations);
    case kServerPid:
      return readNumber<pid_t>(value, 1, options.serverPid);
    case kCpu:
      return readNumber<int>(value, 0, options.cpu);
    case kSeed:
      return readNumber<std::uint64_t>(value, 0, options.seed);
    default:
      return false;
  }
}

}  // namespace

std::optional<Options> Options::parse(int argc, char** argv) {
  Options options;
  options.protocol = protocols().data();
  for (;;) {
    int index = 0;
    const int name = ::getopt_long(argc, argv, "", kLongOptions.data(), &index);
    if (name == -1) break;
    if (name == '?') {
      std::fputs(kUsage, stderr);
      return std::nullopt;
    }
    if (!take(options, name, optarg)) {
      std::fprintf(stderr, "%s: --%s cannot be '%s'\n", program_invocation_short_name,
                   kLongOptions[static_cast<std::size_t>(index)].name, optarg);
      return std::nullopt;
    }
  }
  if (optind + 1 == argc) options.target = Target::parse(argv[optind]);
  if (!options.target) {
    std::fputs(kUsage, stderr);
    return std::nullopt;
  }
  return options;
}

}  // namespace ioloop::bench
