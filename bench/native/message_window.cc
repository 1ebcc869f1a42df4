#include "message_window.h"

#include <cstring>

#include "pattern.h"

namespace ioloop::bench {

MessageWindow::MessageWindow(std::size_t slots, std::size_t size, std::uint64_t seed)
    : size_(size), seed_(seed), messages_(slots * size), expected_(size) {
  for (std::size_t slot = 0; slot < slots; ++slot) slots_.push_back({.number = slot, .sentAt = {}});
}

std::span<const std::byte> MessageWindow::renew(std::size_t slot, Time now) noexcept {
  Slot& place = slots_[slot];
  // Numbers of a slot are those that leave its own when divided by the number of slots.
  place.number += slots_.size();
  place.sentAt = now;
  place.inFlight = true;
  write(place.number, messageAt(slot));
  return messageAt(slot);
}

Answer MessageWindow::receive(std::span<const std::byte> bytes) noexcept {
  constexpr Answer kWrong{.verdict = Verdict::kWrong, .slot = 0};
  if (bytes.size() != size_) return kWrong;
  std::uint64_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof number);
  const std::size_t slot = number % slots_.size();
  Slot& place = slots_[slot];
  if (number < slots_.size() || number > place.number) return kWrong;
  write(number, expected_);
  if (std::memcmp(bytes.data(), expected_.data(), size_) != 0) return kWrong;
  if (number < place.number || !place.inFlight) return {.verdict = Verdict::kLate, .slot = slot};
  place.inFlight = false;
  return {.verdict = Verdict::kFinished, .slot = slot};
}

void MessageWindow::write(std::uint64_t number, std::span<std::byte> message) const noexcept {
  std::memcpy(message.data(), &number, sizeof number);
  // Patterns of neighbouring seeds are one another's, eight bytes on: no message is that long.
  constexpr std::uint64_t kStride = 0x1'0000;
  Pattern(seed_ + number * kStride).fill(message.subspan(sizeof number));
}

}  // namespace ioloop::bench
