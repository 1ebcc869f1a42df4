#include "core/backends.h"

#if IOLOOP_HAS_KQUEUE

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <vector>

#include "core/backends/kqueue_change_list.h"
#include "core/sys.h"
#include "core/unique_fd.h"

namespace ioloop {
namespace {

using kqueue::ChangeList;
using kqueue::Filter;
using kqueue::KernelEvent;
using kqueue::kFilters;

constexpr bool watchable(Ready interest) noexcept {
  Ready rest = interest & kInterests;
  for (const Filter& filter : kFilters) rest = rest & ~filter.interest;
  return rest == Ready::none && !has(interest, Ready::exclusive);
}

constexpr int modeFlags(Ready interest) noexcept {
  return (has(interest, Ready::edge) ? EV_CLEAR : 0) |
         (has(interest, Ready::oneShot) ? EV_DISPATCH : 0);
}

constexpr Ready fromKernel(const KernelEvent& event) noexcept {
  Ready ready = Ready::none;
  for (const Filter& filter : kFilters)
    if (filter.number == event.filter) ready = filter.interest;
  if ((event.flags & EV_EOF) == 0) return ready;
  // With EV_EOF, fflags is the socket's pending error: it was reset, or could not be connected.
  if (event.fflags != 0) return ready | Ready::error;
  // The end of what can be read is told by reading it; the end of writing is a hang-up.
  return event.filter == EVFILT_WRITE ? ready | Ready::hangup : ready;
}

/**
 * kqueue(2): https://man.freebsd.org/kqueue and `man 2 kqueue` on macOS.
 *
 * The kernel reports each filter of a descriptor for itself, and not side by side; wait() merges
 * them. It forgets a descriptor when its number is closed, whoever else holds the file.
 */
class KqueueBackend final : public Backend {
 public:
  explicit KqueueBackend(UniqueFd set) noexcept : set_(std::move(set)) {}

  std::string_view name() const noexcept override { return "kqueue"; }
  bool forgetsClosed() const noexcept override { return true; }
  int pollableFd() const noexcept override { return set_.get(); }

  Status update(int fd, Ready before, Ready after) noexcept override {
    if (fd < 0) return SysError{EBADF, "kevent"};
    if (!watchable(after)) return SysError{ENOTSUP, "kevent"};
    // There is no filter for hang-ups and errors alone.
    if (after != Ready::none && !has(after, kInterests)) return SysError{EINVAL, "kevent"};
    const auto index = static_cast<std::size_t>(fd);
    Registration next = index < registrations_.size() ? registrations_[index] : Registration{};
    if (before == Ready::none) {
      if (const Status unknown = expectUnknown(fd, next); !unknown) return unknown;
      ++next.serial;
    }
    ChangeList changes(fd, next.serial);
    for (const Filter& filter : kFilters) diff(changes, filter, before, after, next.silent);
    if (const Status status = changes.apply(set_.get()); !status) return status;
    if (index >= registrations_.size()) registrations_.resize(std::max(index + 1, 2 * index));
    if (after == Ready::none) ++next.serial;
    registrations_[index] = {.serial = next.serial, .interest = after};
    return {};
  }

  Result<std::size_t> wait(std::span<Event> out, Timeout timeout) noexcept override {
    const int limit = static_cast<int>(std::min(out.size(), events_.size()));
    const timespec spec = waitLimit(timeout.value_or(std::chrono::nanoseconds{0}));
    const int count =
        sys().kevent(set_.get(), nullptr, 0, events_.data(), limit, timeout ? &spec : nullptr);
    if (count < 0) {
      // A signal handler may have queued work and moved the next deadline, so the
      // loop must turn once rather than sleep out a stale timeout.
      if (errno == EINTR) return std::size_t{0};
      return lastError("kevent");
    }
    std::size_t filled = 0;
    for (const KernelEvent& event : std::span(events_).first(static_cast<std::size_t>(count))) {
      if (event.filter != EVFILT_TIMER)
        filled = merge(event, out, filled);
      else if (armed_ > monotonicNow())
        static_cast<void>(arm(armed_));  // the kernel times by another clock, and was early
    }
    for (const Event& event : out.first(filled))
      if (event.fd != Event::kOrphan) settle(event.fd);
    return filled;
  }

  Status arm(std::optional<Instant> deadline) noexcept override {
    // Relative, since NOTE_ABSTIME is on the wall clock; removed first, since adding again
    // reschedules a timer on newer systems only.
    std::array<KernelEvent, 2> changes{};
    for (KernelEvent& change : changes) {
      change.ident = kTimerIdent;
      change.filter = EVFILT_TIMER;
      change.flags = EV_DELETE | EV_RECEIPT;
    }
    if (deadline) {
      const auto delay = std::max(*deadline - monotonicNow(), std::chrono::nanoseconds{1});
      changes[1].flags = EV_ADD | EV_ONESHOT | EV_RECEIPT;
      changes[1].fflags = kTimerNotes;
      changes[1].data = static_cast<decltype(KernelEvent::data)>(delay.count());
    }
    if (sys().kevent(set_.get(), changes.data(), 2, changes.data(), 2, nullptr) < 0)
      return lastError("kevent");
    // A timer that has fired is gone: ENOENT is the usual answer to its removal.
    if (deadline && changes[1].data != 0)
      return SysError{static_cast<int>(changes[1].data), "kevent"};
    armed_ = deadline;
    return {};
  }

 private:
  struct Registration {
    std::uint32_t serial = 0;
    Ready interest = Ready::none;
    std::uint32_t place = 0;  // in the list that wait() is filling, from 1
    bool silent = false;      // a one-shot that fired
  };

  static constexpr auto kTimerIdent = ~decltype(KernelEvent::ident){0};
#if defined(NOTE_CRITICAL)
  // macOS lets timers drift to save power unless told not to.
  static constexpr decltype(KernelEvent::fflags) kTimerNotes = NOTE_NSECONDS | NOTE_CRITICAL;
#else
  static constexpr decltype(KernelEvent::fflags) kTimerNotes = NOTE_NSECONDS;
#endif

  /** macOS refuses more than 10^8 seconds and cuts to microseconds (XNU's kevent_get_timeout). */
  static timespec waitLimit(std::chrono::nanoseconds timeout) noexcept {
    const std::chrono::nanoseconds longest = std::chrono::seconds{100'000'000};
    return toTimespec(std::chrono::ceil<std::chrono::microseconds>(std::min(timeout, longest)));
  }

  /** EEXIST when the kernel still holds what is on record: a touch of it succeeds. */
  Status expectUnknown(int fd, const Registration& record) const noexcept {
    if (record.interest == Ready::none) return {};
    ChangeList touch(fd, record.serial);
    for (const Filter& filter : kFilters)
      if (has(record.interest, filter.interest)) touch.push(filter, 0);
    const Status status = touch.apply(set_.get());
    if (status) return SysError{EEXIST, "kevent"};
    if (status.error().code == ENOENT) return {};
    return status;
  }

  /** Every filter in `before` gets a change without EV_ADD, so that the kernel can say ENOENT. */
  static void diff(ChangeList& changes, const Filter& filter, Ready before, Ready after,
                   bool silent) noexcept {
    const int modes = modeFlags(after);
    const int modesBefore = modeFlags(before);
    const bool had = has(before, filter.interest);
    const bool wants = has(after, filter.interest);
    const int quiet = silent ? EV_DISABLE : 0;
    // Modes are fixed when a filter is added: EV_ADD of a known one leaves them as they are.
    const bool keeps = had && wants && modes == modesBefore;
    if (keeps) return changes.push(filter, EV_ENABLE, quiet);
    if (had) changes.push(filter, EV_DELETE, EV_ADD | modesBefore | quiet);
    if (wants) changes.push(filter, EV_ADD | modes, EV_DELETE);
  }

  std::size_t merge(const KernelEvent& event, std::span<Event> out, std::size_t filled) noexcept {
    const Ready ready = fromKernel(event);
    // Not on record: a change that could not be taken back.
    if (event.ident >= registrations_.size() ||
        registrations_[event.ident].serial != reinterpret_cast<std::uintptr_t>(event.udata)) {
      out[filled] = {Event::kOrphan, ready};
      return filled + 1;
    }
    Registration& registration = registrations_[event.ident];
    if (registration.place == 0) {
      out[filled] = {static_cast<int>(event.ident), Ready::none};
      registration.place = static_cast<std::uint32_t>(++filled);
    }
    out[registration.place - 1].ready |= ready;
    return filled;
  }

  /** Ends a descriptor's part in a wait. EV_DISPATCH silenced the filter that fired, not both. */
  void settle(int fd) noexcept {
    Registration& registration = registrations_[static_cast<std::size_t>(fd)];
    registration.place = 0;
    registration.silent = has(registration.interest, Ready::oneShot);
    if (!registration.silent) return;
    ChangeList changes(fd, registration.serial);
    for (const Filter& filter : kFilters)
      if (has(registration.interest, filter.interest)) changes.push(filter, EV_DISABLE);
    // A refusal means that the descriptor is closed, and silent for that reason.
    static_cast<void>(changes.apply(set_.get()));
  }

  UniqueFd set_;
  std::optional<Instant> armed_;
  std::vector<Registration> registrations_;  // by descriptor number
  std::array<KernelEvent, 1024> events_;
};

}  // namespace

Result<std::unique_ptr<Backend>> createKqueue() noexcept {
  UniqueFd set(sys().kqueue());
  if (!set) return lastError("kqueue");
  // A kqueue does not survive fork(2), but its number does not survive execve(2) by itself.
  if (sys().fcntl(set.get(), F_SETFD, FD_CLOEXEC) < 0) return lastError("fcntl");
  return std::unique_ptr<Backend>(std::make_unique<KqueueBackend>(std::move(set)));
}

}  // namespace ioloop

#endif
