#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace ioloop::bench {

/** What an answer turned out to be. */
enum class Verdict {
  kFinished,  // of a message in flight, every byte right
  kLate,      // the same, of one that was given up or has been answered before
  kWrong,     // of none that was ever sent
};

struct Answer {
  Verdict verdict;
  std::size_t slot;  // that of the message, unless wrong
};

/**
 * The messages that one socket has in flight, a slot for each: what to send, and how to check what
 * comes back where messages may be lost and answers overtake one another.
 *
 * Each message begins with a number of its own, from which the rest of its bytes follow: any answer
 * can be checked, whenever it comes. It does no input or output.
 */
class MessageWindow {
 public:
  using Time = std::chrono::steady_clock::time_point;

  /** Bytes of the shortest message. */
  static constexpr std::size_t kLeastSize = 16;

  MessageWindow(std::size_t slots, std::size_t size, std::uint64_t seed);

  std::size_t slots() const noexcept { return slots_.size(); }

  /** Puts a new message into `slot` and in flight. Its bytes stay until the slot's next one. */
  std::span<const std::byte> renew(std::size_t slot, Time now) noexcept;

  /** Checks every byte of an answer; a finished one leaves its slot. */
  Answer receive(std::span<const std::byte> bytes) noexcept;

  /** When the message in `slot` was sent. */
  Time sentAt(std::size_t slot) const noexcept { return slots_[slot].sentAt; }

 private:
  struct Slot {
    std::uint64_t number;
    Time sentAt;
    bool inFlight = false;
  };

  void write(std::uint64_t number, std::span<std::byte> message) const noexcept;
  std::span<std::byte> messageAt(std::size_t slot) noexcept {
    return std::span(messages_).subspan(slot * size_, size_);
  }

  std::size_t size_;
  std::uint64_t seed_;
  std::vector<Slot> slots_;
  std::vector<std::byte> messages_;
  std::vector<std::byte> expected_;
};

}  // namespace ioloop::bench
