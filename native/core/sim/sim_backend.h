#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "core/backend.h"
#include "core/sim/sim_network.h"
#include "core/waker.h"

namespace ioloop {

/**
 * A backend whose kernel is a SimNetwork. It keeps the contract of Backend, the way epoll does: a
 * registration belongs to a number and its socket, ends with the last descriptor of the socket, and
 * is an orphan once the number means another. exclusive and priority are ENOTSUP.
 *
 * wait() never sleeps. When nothing is ready it moves the virtual clock, by one step, to what
 * happens next in the network or to the end of the timeout, whichever is sooner, and returns what
 * is ready then: none when that step concerned others, or when nothing can happen any more.
 *
 * Real descriptors (a waker's, another loop's set) may be watched too; they are asked at every
 * wait, and are no part of the simulation. The network outlives the backend.
 */
class SimBackend final : public Backend, private SimObserver {
 public:
  static Result<std::unique_ptr<Backend>> create(SimNetwork& network) noexcept;
  ~SimBackend() override;

  std::string_view name() const noexcept override { return "sim"; }
  Status update(int fd, Ready before, Ready after) noexcept override;
  Result<std::size_t> wait(std::span<Event> out, Timeout timeout) noexcept override;
  Status arm(std::optional<Instant> deadline) noexcept override;
  int pollableFd() const noexcept override { return real_->pollableFd(); }

 private:
  /** Ordered by socket, so that the registrations of one stand together. */
  using Key = std::pair<SimSocketId, int>;
  struct Registration {
    Ready interest = Ready::none;
    bool fired = false;       // one-shot: silent until the next update
    bool edge = false;        // edge-triggered: something new since the last event
    std::uint64_t place = 0;  // in ready_, 0: not there
  };

  SimBackend(SimNetwork& network, std::unique_ptr<Backend> real, Waker signal) noexcept;

  void socketChanged(SimSocketId socket, Ready edges) noexcept override;
  void socketGone(SimSocketId socket) noexcept override;

  Ready reported(const Key& key, const Registration& registration) const noexcept;
  void refresh(const Key& key, Registration& registration) noexcept;
  void leaveReady(Registration& registration) noexcept;
  void erase(std::map<Key, Registration>::iterator registration) noexcept;
  void showPollable() noexcept;
  Result<std::size_t> takeReal(std::span<Event> out) noexcept;
  std::size_t takeSimulated(std::span<Event> out) noexcept;

  SimNetwork& network_;
  std::unique_ptr<Backend> real_;  // the system's own set: real descriptors, and signal_
  Waker signal_;                   // readable while there is something simulated to return
  bool signalled_ = false;
  std::map<Key, Registration> registrations_;
  std::map<int, SimSocketId> current_;  // by number: what update() knows it as
  std::map<std::uint64_t, Key> ready_;  // first come, first served
  std::uint64_t nextPlace_ = 1;
  std::optional<SimNetwork::Appointment> armed_;
  bool deadlineCame_ = false;
  bool realFirst_ = false;
};

/** Makes backends on `network`, for Poller. */
std::function<Result<std::unique_ptr<Backend>>()> simBackendFactory(SimNetwork& network);

}  // namespace ioloop
