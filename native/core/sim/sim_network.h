#pragma once

#include <sys/uio.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/instant.h"
#include "core/result.h"
#include "core/sim/seeded_random.h"
#include "core/sim/sim_socket.h"
#include "core/sim/trace_hash.h"
#include "core/sys.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * The first number of a simulated descriptor. The kernel's default limit (fs.nr_open) is 1,048,576,
 * so no real descriptor gets here.
 */
inline constexpr int kFirstSimFd = 1 << 20;
/** How many numbers each network of a thread has. */
inline constexpr int kSimFdsPerNetwork = 1 << 16;

/** How a simulated network treats what passes through it. The default delivers as it is, at once.
 */
struct SimOptions {
  /** Bytes that one direction of a connection holds, under way and unread together. */
  std::size_t bufferSize = std::size_t{64} * 1024;
  /** What is sent arrives after at least, and at most, this long; order is kept. */
  std::chrono::nanoseconds minDelay{0};
  std::chrono::nanoseconds maxDelay{0};
  /** Chances, 0 to 1, that a call moves only some of the bytes that it could. */
  double shortRead = 0;
  double shortWrite = 0;
  /** Chances, 0 to 1, that a call that could move bytes or accept answers EAGAIN, or EINTR. */
  double spuriousAgain = 0;
  double interrupt = 0;
  /** Whether a wait returns what is ready in random order. */
  bool shuffleReady = true;
};

/** Is told what happens to the sockets of a network; see SimNetwork::subscribe. */
class SimObserver {
 public:
  virtual ~SimObserver() = default;
  /** `socket` may have become ready, or ceased to be. `edges`: what is new, seen by its edge. */
  virtual void socketChanged(SimSocketId socket, Ready edges) noexcept = 0;
  /** The last descriptor of `socket` was closed. */
  virtual void socketGone(SimSocketId socket) noexcept = 0;
};

/**
 * A simulated kernel: TCP-like stream sockets in memory, under a virtual clock.
 *
 * Its descriptors work with the system-call table of the thread that made it (`sys().recv(fd ...)`,
 * UniqueFd) and with SimBackend, and with nothing else; the lowest free number is given out first,
 * so numbers are reused as the kernel's are. They never block: what would have to wait is EAGAIN.
 *
 * Everything that happens follows from the seed and the calls made: one seed gives one trace on
 * every machine, and traceHash() tells whether two runs were the same.
 *
 * It is one host: of an address only the port, or the path, counts. connect(2) answers EINPROGRESS
 * whatever the family, and its outcome is there one delay later. A path is in no file system: it
 * goes with its socket. Closing with bytes unread, or with
 * SO_LINGER at 0, resets: what was under way is lost, and the peer reads what it had received,
 * then ECONNRESET once, then the end. There is no urgent data and no passing of descriptors.
 *
 * One thread; it outlives its descriptors and backends. A number that is still open when it goes
 * is closed.
 */
class SimNetwork {
 public:
  explicit SimNetwork(std::uint64_t seed, const SimOptions& options = {});
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  /** The network of the calling thread that `fd` belongs to, open or not; nullptr: none. */
  static SimNetwork* of(int fd) noexcept;

  /**
   * Makes `network` the host of the calling thread, nullptr: none; returns the one before. The
   * stream sockets that a thread with a host makes (socket(2)) are its host's, whatever their
   * domain. A network that goes is nobody's host any more.
   */
  static SimNetwork* exchangeHost(SimNetwork* network) noexcept;
  /** The host of the calling thread, nullptr: it makes kernel sockets. */
  static SimNetwork* host() noexcept;

  /** A socket to bind(2), listen(2) or connect(2). EMFILE when the numbers are used up. */
  Result<UniqueFd> socket(int family = AF_INET);
  /** Two sockets that are connected to each other (socketpair(2)). */
  Result<std::array<UniqueFd, 2>> socketPair();

  /** The virtual clock. It starts at one second and moves only when it is told to. */
  Instant now() const noexcept { return now_; }
  /** Lets `duration` pass; what falls into it happens in order, each at its own instant. */
  void advance(std::chrono::nanoseconds duration);
  /** Moves the clock to what happens next, but not past `limit`, and lets it happen. */
  void advanceToNext(Instant limit);
  /** When something happens next; nothing: never, by itself. */
  std::optional<Instant> nextEvent() const noexcept;

  /** All calls and deliveries so far in one number. */
  std::uint64_t traceHash() const noexcept { return trace_.value(); }
  TraceHash& trace() noexcept { return trace_; }
  SeededRandom& random() noexcept { return random_; }
  const SimOptions& options() const noexcept { return options_; }
  /** How many descriptors are open. */
  std::size_t openDescriptors() const noexcept { return descriptors_.size() - free_.size(); }

  // For backends.
  void subscribe(SimObserver& observer) { observers_.push_back(&observer); }
  void unsubscribe(SimObserver& observer) noexcept { std::erase(observers_, &observer); }
  /** The socket that `fd` names, 0 when it is not open. */
  SimSocketId socketOf(int fd) const noexcept;
  Ready readiness(SimSocketId socket) const noexcept;
  /** Names something on the agenda. */
  using Appointment = std::pair<Instant, std::uint64_t>;
  /** Has `action` run when the clock reaches `at`. */
  Appointment schedule(Instant at, std::function<void()> action);
  void cancel(const Appointment& appointment) noexcept { agenda_.erase(appointment); }

 private:
  friend struct SimCalls;

  // System calls on descriptors of this network: a result, or -errno.
  int close(int fd);
  int fcntl(int fd, int command, int argument);
  int duplicateTo(int from, int to);
  int fstat(int fd, struct stat* status) noexcept;
  int describe(SimSocketId id, struct stat* status) const noexcept;
  int unlink(const std::string& name, SimSocketId id);
  int ioctl(int fd, unsigned long request, int* value) noexcept;
  int bind(int fd, const sockaddr* address, socklen_t size);
  int listen(int fd, int backlog);
  int accept(int fd, sockaddr* address, socklen_t* size);
  int connect(int fd, const sockaddr* address, socklen_t size);
  int shutdown(int fd, int how);
  int getsockopt(int fd, int level, int name, void* value, socklen_t* size);
  int setsockopt(int fd, int level, int name, const void* value, socklen_t size);
  int getsockname(int fd, sockaddr* address, socklen_t* size) noexcept;
  int getpeername(int fd, sockaddr* address, socklen_t* size) noexcept;
  ssize_t receive(int fd, std::span<const iovec> target, int flags);
  ssize_t send(int fd, std::span<const iovec> source, int flags);

  /** The socket that is bound under `name`, 0: none. */
  SimSocketId boundTo(const std::string& name) const noexcept;
  SimSocket* find(SimSocketId id) noexcept;
  SimSocket* open(int fd) noexcept { return find(socketOf(fd)); }
  SimSocket& create(int family);
  int addDescriptor(SimSocket& socket);
  int bindEphemeral(SimSocket& socket);
  void destroy(SimSocketId id);
  void changed(const SimSocket& socket, Ready edges) noexcept;
  int disturb(const SimSocket& socket, Ready edges);

  std::chrono::nanoseconds drawDelay() noexcept;
  void deliver(SimSocket& from, std::function<void(SimSocket* to)> arrival);
  void perform(Instant at, std::function<void()> action);
  void sendBytes(SimSocket& from, std::vector<std::byte> bytes);
  void sendEnd(SimSocket& from);
  void sendReset(SimSocket& from);
  void reset(SimSocket& socket, int error);
  void knock(SimSocketId client, const std::string& name);
  void admit(SimSocket& listener, SimSocket& client);

  std::uint64_t numberOf(int fd) const noexcept { return static_cast<std::uint64_t>(fd - base_); }

  SimOptions options_;
  SeededRandom random_;
  TraceHash trace_;
  int base_;  // the number of the first descriptor
  Instant now_{std::chrono::seconds{1}};
  bool performing_ = false;
  std::uint64_t nextAppointment_ = 1;
  SimSocketId nextSocket_ = 1;
  std::uint16_t nextPort_ = 49152;
  std::map<Appointment, std::function<void()>> agenda_;
  std::map<SimSocketId, SimSocket> sockets_;
  std::map<std::string, SimSocketId> names_;
  std::vector<SimSocketId> descriptors_;  // by number less base_; 0: free
  std::set<int> free_;                    // lowest first
  std::vector<SimObserver*> observers_;
};

/**
 * Puts a table in force that sends calls on simulated descriptors to their network and all others
 * to the table before. Any thread, any number of times; the first counts. A SimNetwork does it when
 * it is made; a table that is to wrap this one is installed after.
 */
void installSimRoutes();

}  // namespace ioloop
