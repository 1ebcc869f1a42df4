// ioloop-hold: holds idle connections open for as long as somebody looks at the server.
//
// Reads whole numbers from stdin, one a line and growing: opens connections until it holds so many,
// each of which has to answer a request (--protocol, --size), and prints the number. At the end of
// stdin each has to answer once more: it was held by the server too.
//
// Exits 0 then; 1 when an answer was wrong or missing, 2 when its arguments make no sense.

#include <cerrno>
#include <cstdio>
#include <deque>

#include "connection.h"
#include "generator.h"

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static const Options options = startGenerator(argc, argv);
  static std::deque<Connection> held;
  std::size_t wanted = 0;
  while (std::scanf("%zu", &wanted) == 1) {
    while (held.size() < wanted) {
      errno = 0;
      const std::uint64_t seed = options.seed + held.size() * 0x1'0000'0001U;
      Connection& connection = held.emplace_back(
          *options.target, options.protocol->create(options.size, seed), 1, held.size());
      check(connection.roundTrip());
    }
    std::printf("%zu\n", held.size());
    std::fflush(stdout);
  }
  for (Connection& connection : held) {
    errno = 0;
    check(connection.roundTrip());
  }
  return 0;
}
