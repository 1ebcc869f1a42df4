#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "core/unique_fd.h"
#include "protocol.h"
#include "target.h"

namespace ioloop::bench {

using SteadyTime = std::chrono::steady_clock::time_point;

/** What serving a connection came to. */
struct Progress {
  std::size_t finished = 0;             // answers completed, every byte right
  std::chrono::nanoseconds latency{0};  // of each of them: from the batch's send
  const char* failure = nullptr;        // why the run is worth nothing, else nullptr
};

/**
 * One connection of the load: sends a batch of requests, waits for all their answers, sends the
 * next. With pipeline 1 that is ping-pong.
 */
class Connection {
 public:
  Connection(const Target& target, std::unique_ptr<Protocol> protocol, std::size_t pipeline,
             std::size_t index) noexcept;

  /** Connects and exchanges one request, waiting for its answer. nullptr, or why it failed. */
  [[nodiscard]] const char* roundTrip();

  /** Connects unless it is, joins the epoll set with `tag` and sends the first batch. */
  [[nodiscard]] const char* start(int set, std::uint64_t tag);

  /** Reads what is there; when that completes the batch, sends the next. */
  [[nodiscard]] Progress serve(std::uint32_t events);

 private:
  const char* connect();
  const char* join();
  const char* sendBatch();
  const char* flush();
  const char* next();

  const Target& target_;
  std::unique_ptr<Protocol> protocol_;
  std::size_t pipeline_;
  std::size_t index_;
  UniqueFd fd_;
  int set_ = -1;
  std::uint64_t tag_ = 0;
  std::vector<std::byte> out_;
  std::size_t sent_ = 0;
  bool wantsWrite_ = false;
  std::size_t outstanding_ = 0;
  SteadyTime sentAt_;
};

}  // namespace ioloop::bench
