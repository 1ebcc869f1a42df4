#pragma once

#include <fcntl.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <map>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/event.h"
#include "core/instant.h"
#include "core/sim/sim_address.h"

namespace ioloop {

/** Names one simulated socket for the life of its network, whatever its descriptors; 0: none. */
using SimSocketId = std::uint64_t;

/** Bytes that came first leave first. */
class ByteQueue {
 public:
  std::size_t size() const noexcept { return bytes_.size() - head_; }
  bool empty() const noexcept { return size() == 0; }

  void append(std::span<const std::byte> source) {
    bytes_.insert(bytes_.end(), source.begin(), source.end());
  }
  /** Copies the bytes from `offset` on; there are enough. */
  void copyTo(std::span<std::byte> target, std::size_t offset) const noexcept {
    if (!target.empty()) std::memcpy(target.data(), bytes_.data() + head_ + offset, target.size());
  }
  void drop(std::size_t count) noexcept {
    head_ += count;
    // Moved to the front once half is behind it: each byte is moved at most once on average.
    if (head_ * 2 < bytes_.size()) return;
    bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
    head_ = 0;
  }

 private:
  std::vector<std::byte> bytes_;
  std::size_t head_ = 0;
};

/** A TCP-like socket of a SimNetwork: one end of a connection, a listener, or neither yet. */
struct SimSocket {
  /** dead: reset, refused or failed; what was received before stays readable. */
  enum class State : std::uint8_t { fresh, listening, connecting, connected, dead };

  SimSocketId id = 0;
  int family = AF_INET;
  State state = State::fresh;
  std::size_t descriptors = 0;   // numbers that name it; the last to be closed ends it
  int statusFlags = O_NONBLOCK;  // F_GETFL
  int error = 0;                 // SO_ERROR
  linger closing{};
  std::map<std::pair<int, int>, std::string> options;  // (level, name): what was set
  SimAddress local;
  SimAddress remote;
  std::string name;  // what it is bound to in the network

  SimSocketId peer = 0;
  ByteQueue received;
  std::size_t outstanding = 0;  // bytes sent that the peer has not read
  Instant lastArrival{};        // of what was sent: later bytes never overtake earlier ones
  bool ended = false;           // the peer's FIN is here
  bool readShut = false;
  bool writeShut = false;
  bool deaf = false;  // the peer has reset: what it sent before and is under way is lost

  std::size_t backlog = 0;
  std::deque<SimSocketId> acceptQueue;
  std::deque<SimSocketId> waiting;  // clients that found the accept queue full

  /** What epoll(7) would report of a TCP socket in this state. */
  Ready readiness(std::size_t bufferSize) const noexcept {
    Ready ready = error != 0 ? Ready::error : Ready::none;
    switch (state) {
      case State::fresh:
        return ready | Ready::write | Ready::hangup | Ready::read;
      case State::listening:
        return acceptQueue.empty() ? ready : ready | Ready::read;
      case State::connecting:
        return ready;
      case State::dead:
        return ready | Ready::read | Ready::write | Ready::hangup;
      case State::connected:
        break;
    }
    if (!received.empty() || ended || readShut) ready |= Ready::read;
    if (outstanding < bufferSize || writeShut) ready |= Ready::write;
    if ((ended || readShut) && writeShut) ready |= Ready::hangup;
    return ready;
  }
};

}  // namespace ioloop
