#if defined(IOLOOP_EMULATE_KQUEUE)

#include "test/kevent_emulation.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <tuple>
#include <vector>

namespace kevent_emulation {
namespace {

using KernelEvent = struct ::kevent;
using Nanoseconds = std::chrono::nanoseconds;

Nanoseconds now() {
  timespec spec{};
  ::clock_gettime(CLOCK_MONOTONIC, &spec);
  return std::chrono::seconds{spec.tv_sec} + Nanoseconds{spec.tv_nsec};
}

/** `delay` after `time`, the end of time at the latest. */
Nanoseconds later(Nanoseconds time, Nanoseconds delay) {
  return delay > Nanoseconds::max() - time ? Nanoseconds::max() : time + delay;
}

timespec toTimespec(Nanoseconds duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

bool isDescriptorFilter(int filter) {
  return filter == EVFILT_READ || filter == EVFILT_WRITE || filter == EVFILT_EXCEPT;
}

/** The epoll events that make a filter look. */
std::uint32_t epollBits(int filter) {
  if (filter == EVFILT_READ) return EPOLLIN | EPOLLRDHUP;
  return filter == EVFILT_WRITE ? EPOLLOUT : EPOLLPRI;
}

bool isSocket(int fd) {
  int type = 0;
  socklen_t size = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0;
}

/** How many bytes can be read, at least 1 where that cannot be told (a listening socket). */
std::int64_t readableBytes(int fd, bool atEnd) {
  int size = 0;
  const bool known = ::ioctl(fd, FIONREAD, &size) == 0;
  return known && (size > 0 || atEnd) ? size : std::int64_t{!atEnd};
}

/** How much room there is to write, at least 1 where that cannot be told. */
std::int64_t writableBytes(int fd) {
  int capacity = 0;
  int queued = 0;
  socklen_t size = sizeof capacity;
  if (::getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &capacity, &size) < 0)
    capacity = ::fcntl(fd, F_GETPIPE_SZ);
  if (::ioctl(fd, TIOCOUTQ, &queued) < 0) ::ioctl(fd, FIONREAD, &queued);
  return std::max(capacity - queued, 1);
}

Nanoseconds timerPeriod(const KernelEvent& change) {
  switch (change.fflags) {
    case NOTE_SECONDS:
      return std::chrono::seconds{change.data};
    case NOTE_USECONDS:
      return std::chrono::microseconds{change.data};
    case NOTE_NSECONDS:
      return Nanoseconds{change.data};
    default:
      return std::chrono::milliseconds{change.data};
  }
}

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

/** What the kernel keeps behind one kqueue: its registrations, over an epoll set and a timerfd. */
class Kqueue {
 public:
  static constexpr std::uint64_t kTimerTag = ~std::uint64_t{0};

  explicit Kqueue(int timer) : timer_(timer) {}
  ~Kqueue() { ::close(timer_); }
  Kqueue(const Kqueue&) = delete;
  Kqueue& operator=(const Kqueue&) = delete;

  /** Whether `set` is a descriptor of this kqueue: whether its timer is watched there. */
  bool owns(int set) const {
    epoll_event event{.events = EPOLLIN, .data = {.u64 = kTimerTag}};
    return ::epoll_ctl(set, EPOLL_CTL_MOD, timer_, &event) == 0;
  }

  /** Makes one change. Returns its errno, or 0. */
  int apply(int set, const KernelEvent& change) {
    const std::lock_guard lock(mutex_);
    const bool ofDescriptor = isDescriptorFilter(change.filter);
    if (!ofDescriptor && change.filter != EVFILT_TIMER && change.filter != EVFILT_USER)
      return EINVAL;
    const int fd = static_cast<int>(change.ident);
    if (ofDescriptor) {
      forgetIfClosed(set, fd);
      if (::fcntl(fd, F_GETFD) < 0) return EBADF;
    }
    const Key key{change.ident, change.filter};
    const bool known = knotes_.contains(key);
    if (!known && (change.flags & EV_ADD) == 0) return ENOENT;
    if ((change.flags & EV_DELETE) != 0)
      knotes_.erase(key);
    else
      modify(knotes_[key], change, known);
    const int code = ofDescriptor ? sync(set, fd) : 0;
    if (code != 0 && !known) knotes_.erase(key);
    armTimer();
    return code;
  }

  /** Takes what is ready. Returns how many, or -1 with errno. */
  int collect(int set, std::span<KernelEvent> out) {
    const std::lock_guard lock(mutex_);
    std::array<epoll_event, 1024> ready;
    const std::size_t limit = std::min(out.size(), ready.size() - 1);
    int count = ::epoll_wait(set, ready.data(), static_cast<int>(limit), 0);
    if (count < 0) return -1;
    const auto isTimer = [](const epoll_event& event) { return event.data.u64 == kTimerTag; };
    const auto end = ready.begin() + count;
    // The timer took a descriptor's place.
    if (std::any_of(ready.begin(), end, isTimer))
      count += std::max(::epoll_wait(set, end, 1, 0), 0);
    std::vector<Candidate> candidates;
    for (const epoll_event& event : std::span(ready).first(static_cast<std::size_t>(count)))
      if (!isTimer(event)) addDescriptor(set, event, candidates);
    addTimersAndUsers(candidates);
    std::ranges::stable_sort(candidates, std::less{}, [](const Candidate& candidate) {
      return std::pair(candidate.knote->lastTold, -candidate.event.filter);
    });
    const std::size_t told = std::min(candidates.size(), out.size());
    for (std::size_t index = 0; index < candidates.size(); ++index) {
      if (index < told) out[index] = candidates[index].event;
      settle(set, candidates[index], index < told);
    }
    armTimer();
    return static_cast<int>(told);
  }

 private:
  using Key = std::pair<std::uintptr_t, int>;  // ident and filter

  static void modify(Knote& knote, const KernelEvent& change, bool known) {
    constexpr unsigned kActions = EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_RECEIPT;
    const KernelEvent before = knote.event;
    knote.event = change;
    // The flags of a known registration stay as they were when it was made.
    knote.event.flags =
        known ? before.flags : static_cast<unsigned short>(change.flags & ~kActions);
    if ((change.flags & EV_ENABLE) != 0) knote.enabled = true;
    if ((change.flags & EV_DISABLE) != 0) knote.enabled = false;
    if (change.filter == EVFILT_TIMER && (change.flags & EV_ADD) != 0)
      knote.due = later(now(), std::max(timerPeriod(change), Nanoseconds{1}));
    if (change.filter == EVFILT_USER) touchUser(knote, before, change);
  }

  static void touchUser(Knote& knote, const KernelEvent& before, const KernelEvent& change) {
    const unsigned bits = change.fflags & NOTE_FFLAGSMASK;
    unsigned result = before.fflags;
    switch (change.fflags & NOTE_FFCTRLMASK) {
      case NOTE_FFAND:
        result &= bits;
        break;
      case NOTE_FFOR:
        result |= bits;
        break;
      case NOTE_FFCOPY:
        result = bits;
        break;
      default:
        break;
    }
    knote.event.fflags = result;
    if ((change.fflags & NOTE_TRIGGER) != 0) knote.triggered = true;
  }

  template <typename Visit>
  void forEachOf(int fd, Visit visit) {
    for (const int filter : {EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT})
      if (const auto found = knotes_.find({static_cast<std::uintptr_t>(fd), filter});
          found != knotes_.end())
        visit(found->second);
  }

  /** A kqueue forgets a descriptor when it is closed, though a duplicate may live on. */
  void forgetIfClosed(int set, int fd) {
    if (!serials_.contains(fd)) return;
    // Adding again asks without changing anything: EEXIST is the answer while it is watched.
    epoll_event probe{.events = EPOLLET, .data = {.u64 = 0}};
    if (::epoll_ctl(set, EPOLL_CTL_ADD, fd, &probe) == 0)
      ::epoll_ctl(set, EPOLL_CTL_DEL, fd, nullptr);
    else if (errno == EEXIST)
      return;
    serials_.erase(fd);
    for (const int filter : {EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT})
      knotes_.erase({static_cast<std::uintptr_t>(fd), filter});
  }

  /**
   * Brings the epoll set in line with the filters of `fd`, and has it look at them anew.
   *
   * Always edge-triggered: a level-triggered filter is armed again after each event. So a file
   * that a duplicate keeps in the set after its number was closed does not make it spin.
   */
  int sync(int set, int fd) {
    std::uint32_t bits = 0;
    bool any = false;
    forEachOf(fd, [&](const Knote& knote) {
      any = true;
      if (knote.enabled) bits |= epollBits(knote.event.filter);
    });
    const auto known = serials_.find(fd);
    if (!any) {
      if (known == serials_.end()) return 0;
      ::epoll_ctl(set, EPOLL_CTL_DEL, fd, nullptr);
      serials_.erase(known);
      return 0;
    }
    // EPOLLHUP cannot be masked; one-shot, it is told once to nobody.
    if (bits == 0) bits = EPOLLONESHOT;
    const std::uint32_t serial = known == serials_.end() ? ++lastSerial_ : known->second;
    epoll_event event{.events = bits | EPOLLET,
                      .data = {.u64 = std::uint64_t{serial} << 32 | static_cast<unsigned>(fd)}};
    if (::epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) < 0 &&
        (errno != ENOENT || ::epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0))
      return errno;
    serials_[fd] = serial;
    return 0;
  }

  void addDescriptor(int set, const epoll_event& ready, std::vector<Candidate>& candidates) {
    const int fd = static_cast<int>(ready.data.u64 & 0xffffffff);
    forgetIfClosed(set, fd);
    const auto known = serials_.find(fd);
    if (known == serials_.end() || known->second != ready.data.u64 >> 32) return;
    forEachOf(fd, [&](Knote& knote) {
      if (const auto event = describe(knote, fd, ready.events); event && knote.enabled)
        candidates.push_back({*event, &knote});
    });
  }

  /** The event that a descriptor's filter has in these epoll events, if any. */
  static std::optional<KernelEvent> describe(const Knote& knote, int fd, std::uint32_t bits) {
    KernelEvent event = knote.event;
    const bool failed = (bits & EPOLLERR) != 0;
    const bool reads = event.filter == EVFILT_READ;
    const bool writes = event.filter == EVFILT_WRITE;
    // A pipe without a reader reports EPOLLERR to its writer.
    const bool end = (reads && (bits & (EPOLLRDHUP | EPOLLHUP)) != 0) ||
                     (writes && ((bits & EPOLLHUP) != 0 || (failed && !isSocket(fd))));
    const bool ready = end || (bits & epollBits(event.filter)) != 0;
    if (!ready && (!failed || event.filter == EVFILT_EXCEPT)) return {};
    if (end) event.flags |= EV_EOF;
    if (reads) event.data = readableBytes(fd, end);
    if (writes) event.data = end ? 0 : writableBytes(fd);
    if (event.filter != EVFILT_EXCEPT)
      event.fflags = end && failed && isSocket(fd) ? ECONNRESET : 0;
    return event;
  }

  void addTimersAndUsers(std::vector<Candidate>& candidates) {
    const Nanoseconds time = now();
    for (auto& [key, knote] : knotes_) {
      if (!knote.enabled) continue;
      KernelEvent event = knote.event;
      if (event.filter == EVFILT_TIMER && knote.due <= time) {
        event.data = 1 + (time - knote.due) / std::max(timerPeriod(event), Nanoseconds{1});
        if ((event.flags & EV_ONESHOT) != 0) event.data = 1;
        candidates.push_back({event, &knote});
      }
      if (event.filter == EVFILT_USER && knote.triggered) candidates.push_back({event, &knote});
    }
  }

  /** What being told, or having been left for the next call, does to a registration. */
  void settle(int set, const Candidate& candidate, bool told) {
    const KernelEvent& event = candidate.event;
    Knote& knote = *candidate.knote;
    bool look = !told || (event.flags & EV_CLEAR) == 0;
    if (told) {
      knote.lastTold = ++tick_;
      if (event.filter == EVFILT_TIMER)
        knote.due = later(knote.due, event.data * timerPeriod(knote.event));
      if ((event.flags & EV_CLEAR) != 0) knote.triggered = false;
      if ((event.flags & EV_DISPATCH) != 0) knote.enabled = false;
      if ((event.flags & EV_ONESHOT) != 0) knotes_.erase({event.ident, event.filter});
      look = look || (event.flags & (EV_DISPATCH | EV_ONESHOT)) != 0;
    }
    if (look && isDescriptorFilter(event.filter)) sync(set, static_cast<int>(event.ident));
  }

  /** Makes the set readable when the next timer is due, at once for what waits to be told. */
  void armTimer() {
    std::optional<Nanoseconds> next;
    for (const auto& [key, knote] : knotes_) {
      if (!knote.enabled || isDescriptorFilter(knote.event.filter)) continue;
      if (knote.event.filter == EVFILT_USER && !knote.triggered) continue;
      next = std::min(next.value_or(Nanoseconds::max()), knote.due);
    }
    itimerspec value{};
    if (next) value.it_value = toTimespec(std::max(*next, Nanoseconds{1}));
    ::timerfd_settime(timer_, TFD_TIMER_ABSTIME, &value, nullptr);
  }

  const int timer_;
  std::mutex mutex_;
  std::map<Key, Knote> knotes_;
  std::map<int, std::uint32_t> serials_;  // of the descriptors in the epoll set
  std::uint32_t lastSerial_ = 0;
  std::uint64_t tick_ = 0;
};

/** Every kqueue of the process, found by any descriptor of it: dup(2) makes several. */
class Registry {
 public:
  static Registry& get() {
    static Registry registry;
    return registry;
  }

  int create() {
    const std::lock_guard lock(mutex_);
    reap();
    const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) return -1;
    auto queue = std::make_shared<Kqueue>(timer);
    const int set = ::epoll_create1(0);
    if (set < 0) return -1;
    epoll_event event{.events = EPOLLIN, .data = {.u64 = Kqueue::kTimerTag}};
    ::epoll_ctl(set, EPOLL_CTL_ADD, timer, &event);
    queues_.push_back(std::move(queue));
    return set;
  }

  std::shared_ptr<Kqueue> find(int set) {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(queues_, [&](const auto& queue) { return queue->owns(set); });
    return found == queues_.end() ? nullptr : *found;
  }

  /** Forgets the kqueues that no descriptor leads to any more. */
  void reap() {
    std::vector<int> numbers;
    if (queues_.empty()) return;
    DIR* listing = ::opendir("/proc/self/fd");
    if (listing == nullptr) return;
    while (const dirent* entry = ::readdir(listing)) numbers.push_back(std::atoi(entry->d_name));
    ::closedir(listing);
    std::erase_if(queues_, [&](const auto& queue) {
      return std::ranges::none_of(numbers, [&](int number) { return queue->owns(number); });
    });
  }

  int close(int fd) {
    const bool isQueue = find(fd) != nullptr;
    const int result = ::close(fd);
    if (!isQueue) return result;
    const std::lock_guard lock(mutex_);
    reap();
    return result;
  }

  int size() {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(queues_.size());
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Kqueue>> queues_;
};

/** Makes the changes in order. Returns how many answers went to `answers`, or -1 with errno. */
int applyAll(Kqueue& queue, int set, std::span<const KernelEvent> changes,
             std::span<KernelEvent> answers) {
  std::size_t count = 0;
  for (KernelEvent change : changes) {
    const int code = queue.apply(set, change);
    if (code == 0 && (change.flags & EV_RECEIPT) == 0) continue;
    if (count == answers.size()) {
      errno = code;
      return code == 0 ? 0 : -1;
    }
    change.flags = EV_ERROR;
    change.data = code;
    answers[count++] = change;
  }
  return static_cast<int>(count);
}

}  // namespace

int close(int fd) { return Registry::get().close(fd); }

int innerDescriptors() { return Registry::get().size(); }

}  // namespace kevent_emulation

int kqueue() { return kevent_emulation::Registry::get().create(); }

int kevent(int set, const struct kevent* changes, int changeCount, struct kevent* events,
           int eventCount, const timespec* timeout) {
  using namespace kevent_emulation;
  const auto queue = Registry::get().find(set);
  if (!queue) {
    errno = EBADF;
    return -1;
  }
  const std::span out(events, static_cast<std::size_t>(eventCount));
  const int answers =
      applyAll(*queue, set, std::span(changes, static_cast<std::size_t>(changeCount)), out);
  if (answers != 0 || out.empty()) return answers;
  std::optional<Nanoseconds> deadline;
  if (timeout != nullptr)
    deadline = later(now(), std::chrono::seconds{timeout->tv_sec} + Nanoseconds{timeout->tv_nsec});
  for (;;) {
    const int count = queue->collect(set, out);
    if (count != 0) return count;
    const Nanoseconds left = deadline ? *deadline - now() : Nanoseconds{0};
    if (deadline && left <= Nanoseconds{0}) return 0;
    const timespec spec = toTimespec(left);
    pollfd readable{.fd = set, .events = POLLIN, .revents = 0};
    if (::ppoll(&readable, 1, deadline ? &spec : nullptr, nullptr) < 0) return -1;
  }
}

#endif
