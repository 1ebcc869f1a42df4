#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/sys.h"
#include "test/check.h"

namespace ioloop {

/**
 * Where the conformance body runs: one backend, and descriptors for it to watch.
 *
 * The kernel is such a world once for each of its pollers, a simulated network is another. What
 * both have in common goes through the system-call table and is not virtual. Descriptors never
 * block; those still open at the end are closed with the world.
 */
class World {
 public:
  /** Two descriptors that are connected. */
  struct Ends {
    int near;
    int far;
  };

  World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  virtual ~World() { closeAll(); }

  virtual Result<std::unique_ptr<Backend>> createBackend() noexcept = 0;
  virtual Instant now() = 0;

  /** How many descriptors a backend takes at once, at least. */
  virtual std::size_t capacity() const = 0;
  /** Whether error and hangup are told; select knows read and write only. */
  virtual bool tellsFailures() const = 0;
  /** Whether a watched descriptor found closed is an error once, or forgotten (rule 9). */
  virtual bool tellsClosed() const = 0;

  /** The two ends of a stream connection; what one sends the other has at once. */
  virtual Ends connect() = 0;
  /** As connect(), with `number`, which is free, as the near end. */
  virtual Ends connectOn(int number) = 0;
  /** A stream socket whose connect is under way and will be refused. */
  virtual int connectToNobody() = 0;

  /** Sends `size` bytes; whether all were taken. */
  bool send(int fd, std::size_t size);
  /** Sends until no more is taken. */
  void fill(int fd);
  /** Reads at most `size` bytes: how many, 0 at the end, -errno. */
  ssize_t receive(int fd, std::size_t size);
  /** Reads all that is there. */
  void drain(int fd);
  /** Ends the stream after what was sent. */
  void finish(int fd) { sys().shutdown(fd, SHUT_WR); }
  void close(int fd);

 protected:
  /** Has the world close `fd` at its end. */
  int own(int fd);
  /** For destructors of worlds whose system-call table goes with them. */
  void closeAll();

 private:
  std::set<int> open_;
};

/** A world that the conformance body runs in. */
struct WorldRow {
  std::string name;
  bool onKernel;
  std::function<std::unique_ptr<World>()> make;
};

/** Every world of this program; a support file adds its own when it is loaded. */
inline std::vector<WorldRow>& worlds() {
  static std::vector<WorldRow> all;
  return all;
}

/** A sentence of the body: what every backend must do. */
using Conformance = void (*)(World& world, Backend& backend);

/** Has `body` run as one test for each world, or for those on the kernel only. */
bool conform(const char* sentence, Conformance body, bool kernelOnly);

inline constexpr std::chrono::nanoseconds kAtOnce{0};
/** Long enough for anything that must come. */
inline constexpr std::chrono::seconds kSoon{10};

/** What one wait says of `fd`, none when nothing; checks that it succeeds and says it once. */
Ready waitFor(Backend& backend, int fd, Timeout timeout = kAtOnce);

/** The errno of a failed update, 0 of one that succeeded. */
inline int errorOf(const Status& status) { return status ? 0 : status.error().code; }

}  // namespace ioloop

/** Defines a test that runs in every world: `CONFORMS("sentence") { world ... backend ... }`. */
#define CONFORMS(sentence) CONFORMS_(sentence, CHECK_JOIN(conforms, __LINE__), false)
/** The same for what only real descriptors can show. */
#define CONFORMS_ON_KERNEL(sentence) CONFORMS_(sentence, CHECK_JOIN(conforms, __LINE__), true)
#define CONFORMS_(sentence, function, kernelOnly)                                                  \
  static void function(ioloop::World& world, ioloop::Backend& backend);                            \
  static const bool CHECK_JOIN(function, Added) = ioloop::conform(sentence, function, kernelOnly); \
  static void function([[maybe_unused]] ioloop::World& world,                                      \
                       [[maybe_unused]] ioloop::Backend& backend)
