#include "message_window.h"

#include <array>

#include "test/check.h"

using namespace ioloop::bench;

namespace {

constexpr std::size_t kSlots = 4;
constexpr std::size_t kSize = 64;
constexpr MessageWindow::Time kNow{std::chrono::seconds(5)};

std::vector<std::byte> send(MessageWindow& window, std::size_t slot) {
  const auto message = window.renew(slot, kNow);
  return {message.begin(), message.end()};
}

}  // namespace

TEST("messages in flight are finished in any order, each in its slot") {
  MessageWindow window(kSlots, kSize, 1);
  std::vector<std::vector<std::byte>> sent;
  for (std::size_t slot = 0; slot < kSlots; ++slot) sent.push_back(send(window, slot));
  for (const std::size_t slot : std::array<std::size_t, kSlots>{2, 0, 3, 1}) {
    const Answer answer = window.receive(sent[slot]);
    CHECK(answer.verdict == Verdict::kFinished);
    CHECK(answer.slot == slot);
    CHECK(window.sentAt(slot) == kNow);
  }
}

TEST("an answer with any one bit wrong is wrong") {
  for (std::size_t bit = 0; bit < kSize * 8; ++bit) {
    MessageWindow window(kSlots, kSize, 1);
    auto message = send(window, 0);
    message[bit / 8] ^= std::byte{1} << (bit % 8);
    CHECK(window.receive(message).verdict == Verdict::kWrong);
  }
}

TEST("an answer that is too short or too long is wrong") {
  MessageWindow window(kSlots, kSize, 1);
  auto message = send(window, 0);
  CHECK(window.receive(std::span(message).first(kSize - 1)).verdict == Verdict::kWrong);
  CHECK(window.receive({}).verdict == Verdict::kWrong);
  message.push_back(std::byte{});
  CHECK(window.receive(message).verdict == Verdict::kWrong);
}

TEST("the answer to a message that was given up is late, not wrong") {
  MessageWindow window(kSlots, kSize, 1);
  const auto lost = send(window, 1);
  const auto next = send(window, 1);
  CHECK(next != lost);
  CHECK(window.receive(lost).verdict == Verdict::kLate);
  CHECK(window.receive(next).verdict == Verdict::kFinished);
}

TEST("a second answer is late") {
  MessageWindow window(kSlots, kSize, 1);
  const auto message = send(window, 3);
  CHECK(window.receive(message).verdict == Verdict::kFinished);
  CHECK(window.receive(message).verdict == Verdict::kLate);
}

TEST("the answer to a message of another socket, or to one not yet sent, is wrong") {
  MessageWindow mine(kSlots, kSize, 1);
  MessageWindow others(kSlots, kSize, 2);
  send(mine, 0);
  CHECK(mine.receive(send(others, 0)).verdict == Verdict::kWrong);
  MessageWindow ahead(kSlots, kSize, 1);
  send(ahead, 0);
  CHECK(mine.receive(send(ahead, 0)).verdict == Verdict::kWrong);
  CHECK(mine.receive(send(ahead, 1)).verdict == Verdict::kWrong);
}
