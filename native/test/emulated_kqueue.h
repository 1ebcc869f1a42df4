#pragma once

#include <sys/epoll.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "test/kevent_emulation.h"

namespace kevent_emulation {

using KernelEvent = struct ::kevent;
using Nanoseconds = std::chrono::nanoseconds;

/** Now, on the clock that timers and waits go by. */
Nanoseconds now();
/** `delay` after `time`, the end of time at the latest. */
Nanoseconds later(Nanoseconds time, Nanoseconds delay);
/** `duration` as the kernel takes it. */
timespec toTimespec(Nanoseconds duration);

/** What the kernel keeps behind one kqueue: its registrations, over an epoll set and a timerfd. */
class Kqueue {
 public:
  /** Marks the timer in the epoll set. */
  static constexpr std::uint64_t kTimerTag = ~std::uint64_t{0};

  /** Takes over the timerfd, which is to be watched in the epoll set behind the kqueue. */
  explicit Kqueue(int timer) : timer_(timer) {}
  ~Kqueue() { ::close(timer_); }
  Kqueue(const Kqueue&) = delete;
  Kqueue& operator=(const Kqueue&) = delete;

  /** Whether `set` is a descriptor of this kqueue: whether its timer is watched there. */
  bool owns(int set) const;

  /** Makes one change. Returns its errno, or 0. */
  int apply(int set, const KernelEvent& change);

  /** Takes what is ready. Returns how many, or -1 with errno. */
  int collect(int set, std::span<KernelEvent> out);

 private:
  using Key = std::pair<std::uintptr_t, int>;  // ident and filter

  /** One registration: a filter on an ident. */
  struct Knote {
    KernelEvent event{};  // as it was added
    bool enabled = true;
    bool triggered = false;      // EVFILT_USER
    Nanoseconds due{};           // EVFILT_TIMER
    std::uint64_t lastTold = 0;  // orders the queue: least recently told first
  };

  /** An event that kevent() can return, with the place of its registration. */
  struct Candidate {
    KernelEvent event;
    Knote* knote;
  };

  static void modify(Knote& knote, const KernelEvent& change, bool known);
  static void touchUser(Knote& knote, const KernelEvent& before, const KernelEvent& change);

  /** Calls `visit` with each registration of a descriptor. */
  template <typename Visit>
  void forEachOf(int fd, Visit visit);

  /** A kqueue forgets a descriptor when it is closed, though a duplicate may live on. */
  void forgetIfClosed(int set, int fd);

  /**
   * Brings the epoll set in line with the filters of `fd`, and has it look at them anew.
   *
   * Always edge-triggered: a level-triggered filter is armed again after each event. So a file
   * that a duplicate keeps in the set after its number was closed does not make it spin.
   */
  int sync(int set, int fd);

  void addDescriptor(int set, const epoll_event& ready, std::vector<Candidate>& candidates);
  void addTimersAndUsers(std::vector<Candidate>& candidates);
  /** The event that a descriptor's filter has in these epoll events, if any. */
  static std::optional<KernelEvent> describe(const Knote& knote, int fd, std::uint32_t bits);

  /** What being told, or having been left for the next call, does to a registration. */
  void settle(int set, const Candidate& candidate, bool told);

  /** Makes the set readable when the next timer is due, at once for what waits to be told. */
  void armTimer();

  const int timer_;
  std::mutex mutex_;
  std::map<Key, Knote> knotes_;
  std::map<int, std::uint32_t> serials_;  // of the descriptors in the epoll set
  std::uint32_t lastSerial_ = 0;
  std::uint64_t tick_ = 0;
};

}  // namespace kevent_emulation
