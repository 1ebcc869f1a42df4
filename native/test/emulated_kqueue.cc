#if defined(IOLOOP_EMULATE_KQUEUE)

#include "test/emulated_kqueue.h"

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

namespace kevent_emulation {

Nanoseconds now() {
  timespec spec{};
  ::clock_gettime(CLOCK_MONOTONIC, &spec);
  return std::chrono::seconds{spec.tv_sec} + Nanoseconds{spec.tv_nsec};
}

Nanoseconds later(Nanoseconds time, Nanoseconds delay) {
  return delay > Nanoseconds::max() - time ? Nanoseconds::max() : time + delay;
}

timespec toTimespec(Nanoseconds duration) {
  const auto seconds = std::chrono::floor<std::chrono::seconds>(duration);
  return {.tv_sec = seconds.count(), .tv_nsec = (duration - seconds).count()};
}

namespace {

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

}  // namespace

bool Kqueue::owns(int set) const {
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kTimerTag}};
  return ::epoll_ctl(set, EPOLL_CTL_MOD, timer_, &event) == 0;
}

int Kqueue::apply(int set, const KernelEvent& change) {
  const std::lock_guard lock(mutex_);
  const bool ofDescriptor = isDescriptorFilter(change.filter);
  if (!ofDescriptor && change.filter != EVFILT_TIMER && change.filter != EVFILT_USER) return EINVAL;
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

int Kqueue::collect(int set, std::span<KernelEvent> out) {
  const std::lock_guard lock(mutex_);
  std::array<epoll_event, 1024> ready;
  const std::size_t limit = std::min(out.size(), ready.size() - 1);
  int count = ::epoll_wait(set, ready.data(), static_cast<int>(limit), 0);
  if (count < 0) return -1;
  const auto isTimer = [](const epoll_event& event) { return event.data.u64 == kTimerTag; };
  const auto end = ready.begin() + count;
  // The timer took a descriptor's place.
  if (std::any_of(ready.begin(), end, isTimer)) count += std::max(::epoll_wait(set, end, 1, 0), 0);
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

void Kqueue::modify(Knote& knote, const KernelEvent& change, bool known) {
  constexpr unsigned kActions = EV_ADD | EV_DELETE | EV_ENABLE | EV_DISABLE | EV_RECEIPT;
  const KernelEvent before = knote.event;
  knote.event = change;
  // The flags of a known registration stay as they were when it was made.
  knote.event.flags = known ? before.flags : static_cast<unsigned short>(change.flags & ~kActions);
  if ((change.flags & EV_ENABLE) != 0) knote.enabled = true;
  if ((change.flags & EV_DISABLE) != 0) knote.enabled = false;
  if (change.filter == EVFILT_TIMER && (change.flags & EV_ADD) != 0)
    knote.due = later(now(), std::max(timerPeriod(change), Nanoseconds{1}));
  if (change.filter == EVFILT_USER) touchUser(knote, before, change);
}

void Kqueue::touchUser(Knote& knote, const KernelEvent& before, const KernelEvent& change) {
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
void Kqueue::forEachOf(int fd, Visit visit) {
  for (const int filter : {EVFILT_READ, EVFILT_WRITE, EVFILT_EXCEPT})
    if (const auto found = knotes_.find({static_cast<std::uintptr_t>(fd), filter});
        found != knotes_.end())
      visit(found->second);
}

void Kqueue::forgetIfClosed(int set, int fd) {
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

int Kqueue::sync(int set, int fd) {
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

void Kqueue::addDescriptor(int set, const epoll_event& ready, std::vector<Candidate>& candidates) {
  const int fd = static_cast<int>(ready.data.u64 & 0xffffffff);
  forgetIfClosed(set, fd);
  const auto known = serials_.find(fd);
  if (known == serials_.end() || known->second != ready.data.u64 >> 32) return;
  forEachOf(fd, [&](Knote& knote) {
    if (const auto event = describe(knote, fd, ready.events); event && knote.enabled)
      candidates.push_back({*event, &knote});
  });
}

std::optional<KernelEvent> Kqueue::describe(const Knote& knote, int fd, std::uint32_t bits) {
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
  if (event.filter != EVFILT_EXCEPT) event.fflags = end && failed && isSocket(fd) ? ECONNRESET : 0;
  return event;
}

void Kqueue::addTimersAndUsers(std::vector<Candidate>& candidates) {
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

void Kqueue::settle(int set, const Candidate& candidate, bool told) {
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

void Kqueue::armTimer() {
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

}  // namespace kevent_emulation

#endif
