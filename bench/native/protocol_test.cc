#include "protocol.h"

#include <algorithm>

#include "test/check.h"

using namespace ioloop::bench;

namespace {

constexpr std::size_t kSize = 64;

std::vector<std::byte> requestOf(Protocol& protocol) {
  std::vector<std::byte> out;
  protocol.request(out);
  return out;
}

/** Adds a test of every protocol: all of them send messages and want them back. */
void eachProtocol(const char* sentence, void (*body)(const ProtocolRow& row)) {
  for (const ProtocolRow& row : protocols()) {
    check::add(std::string(row.name) + " " + sentence, [&row, body] { body(row); });
  }
}

const bool kAdded = check::generate([] {
  eachProtocol("finishes one operation with the last byte of its answer", [](const auto& row) {
    const auto protocol = row.create(kSize, 1);
    const auto message = requestOf(*protocol);
    REQUIRE(message.size() == kSize);
    for (std::size_t i = 0; i + 1 < kSize; ++i)
      CHECK(protocol->receive(std::span(message).subspan(i, 1)) == 0U);
    CHECK(protocol->receive(std::span(message).last(1)) == 1U);
  });

  eachProtocol("refuses an answer with any one bit wrong", [](const auto& row) {
    for (std::size_t bit = 0; bit < kSize * 8; ++bit) {
      const auto protocol = row.create(kSize, 1);
      auto message = requestOf(*protocol);
      message[bit / 8] ^= std::byte{1} << (bit % 8);
      CHECK(!protocol->receive(message));
    }
  });

  eachProtocol("refuses bytes that it did not ask for", [](const auto& row) {
    const auto protocol = row.create(kSize, 1);
    auto message = requestOf(*protocol);
    message.push_back(message.front());
    CHECK(!protocol->receive(message));
  });

  eachProtocol("refuses the answer of another connection and of another time", [](const auto& row) {
    const auto mine = row.create(kSize, 1);
    const auto others = row.create(kSize, 2);
    const auto first = requestOf(*mine);
    CHECK(requestOf(*others) != first);
    REQUIRE(mine->receive(first) == 1U);
    CHECK(requestOf(*mine) != first);
    CHECK(!mine->receive(first));
  });

  eachProtocol("counts the answers of a pipeline that arrive at once", [](const auto& row) {
    const auto protocol = row.create(kSize, 1);
    std::vector<std::byte> batch;
    for (int i = 0; i < 16; ++i) protocol->request(batch);
    CHECK(protocol->receive(std::span(batch).first(3 * kSize + 1)) == 3U);
    CHECK(protocol->receive(std::span(batch).subspan(3 * kSize + 1)) == 13U);
  });
});

}  // namespace

TEST("a line has its one line feed at the end") {
  const auto row = std::ranges::find_if(
      protocols(), [](const ProtocolRow& each) { return each.name == "lines"; });
  REQUIRE(row != protocols().end());
  const auto lines = row->create(kSize, 7);
  for (int i = 0; i < 1'000; ++i) {
    const auto line = requestOf(*lines);
    CHECK(std::ranges::find(line, std::byte{'\n'}) == line.end() - 1);
    CHECK(lines->receive(line) == 1U);
  }
}
