#pragma once

#include "core/backends.h"
#include "test/conformance_world.h"

namespace ioloop {

/** The kernel, seen by one of its pollers. */
class KernelWorld final : public World {
 public:
  explicit KernelWorld(const BackendRow& row) : row_(row) {}

  Result<std::unique_ptr<Backend>> createBackend() noexcept override { return row_.create(); }
  Instant now() override { return monotonicNow(); }

  std::size_t capacity() const override { return row_.name == "select" ? 900 : 4000; }
  bool tellsFailures() const override { return row_.name != "select"; }
  bool tellsClosed() const override { return row_.name == "poll" || row_.name == "select"; }

  Ends connect() override;
  Ends connectOn(int number) override;
  int connectToNobody() override;

  /** As connect(), over TCP. */
  Ends connectTcp();
  /** `near` reads what `far` writes. */
  Ends pipe();
  /** An empty file that no directory lists. */
  int regularFile();
  int open(const char* path, int flags);
  /** Another number for the file of `fd`: the lowest free one that is at least `least`. */
  int duplicate(int fd, int least = 0);
  /** Closes a TCP socket so that its peer gets a reset. */
  void reset(int fd);

 private:
  const BackendRow& row_;
};

}  // namespace ioloop
