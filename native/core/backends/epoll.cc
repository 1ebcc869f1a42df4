#include "core/backends.h"

#if IOLOOP_HAS_EPOLL

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "core/sys.h"
#include "core/unique_fd.h"

namespace ioloop {
namespace {

constexpr std::uint32_t toEpoll(Ready interest) noexcept {
  std::uint32_t bits = 0;
  if (has(interest, Ready::read)) bits |= EPOLLIN;
  if (has(interest, Ready::write)) bits |= EPOLLOUT;
  if (has(interest, Ready::priority)) bits |= EPOLLPRI;
  if (has(interest, Ready::edge)) bits |= EPOLLET;
  if (has(interest, Ready::oneShot)) bits |= EPOLLONESHOT;
  if (has(interest, Ready::exclusive)) bits |= EPOLLEXCLUSIVE;
  return bits;
}

constexpr Ready fromEpoll(std::uint32_t bits) noexcept {
  Ready ready = Ready::none;
  if ((bits & EPOLLIN) != 0) ready |= Ready::read;
  if ((bits & EPOLLOUT) != 0) ready |= Ready::write;
  if ((bits & EPOLLPRI) != 0) ready |= Ready::priority;
  if ((bits & EPOLLERR) != 0) ready |= Ready::error;
  // A pipe whose writer left reports EPOLLHUP alone: its reader must still see the end.
  if ((bits & EPOLLHUP) != 0) ready |= Ready::hangup | Ready::read;
  return ready;
}

/**
 * epoll(7). A registration is known by its number and its serial, both in the kernel's word: an
 * event with an older serial comes from a file that a duplicate keeps alive, and is an orphan.
 */
class EpollBackend final : public Backend {
 public:
  EpollBackend(UniqueFd set, UniqueFd timer) noexcept
      : set_(std::move(set)), timer_(std::move(timer)) {}

  std::string_view name() const noexcept override { return "epoll"; }
  bool forgetsClosed() const noexcept override { return true; }
  int pollableFd() const noexcept override { return set_.get(); }

  Status watchTimer() noexcept {
    // Edge-triggered: an expiry is told once and needs no read(2) to fall silent.
    epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = kTimerTag}};
    if (sys().epollCtl(set_.get(), EPOLL_CTL_ADD, timer_.get(), &event) < 0)
      return lastError("epoll_ctl");
    return {};
  }

  Status update(int fd, Ready before, Ready after) noexcept override {
    const bool adding = before == Ready::none;
    const int operation = after == Ready::none ? EPOLL_CTL_DEL
                          : adding             ? EPOLL_CTL_ADD
                                               : EPOLL_CTL_MOD;
    const auto index = static_cast<std::size_t>(fd);
    const bool numbered = fd >= 0 && index < serials_.size();
    const std::uint32_t serial = (numbered ? serials_[index] : 0) + (adding ? 1 : 0);
    epoll_event event{.events = toEpoll(after), .data = {.u64 = tag(fd, serial)}};
    if (sys().epollCtl(set_.get(), operation, fd, &event) < 0) return lastError("epoll_ctl");
    if (!numbered) serials_.resize(std::max(index + 1, 2 * serials_.size()));
    // A removal ages the serial too, so that what a duplicate still reports is known as an orphan.
    serials_[index] = after == Ready::none ? serial + 1 : serial;
    return {};
  }

  Result<std::size_t> wait(std::span<Event> out, Timeout timeout) noexcept override {
    const std::size_t limit = std::min(out.size(), events_.size());
    const int count = waitKernel(static_cast<int>(limit), timeout);
    if (count < 0) {
      // A signal handler may have queued work and moved the next deadline, so the
      // loop must turn once rather than sleep out a stale timeout.
      if (errno == EINTR) return std::size_t{0};
      return lastError("epoll_wait");
    }
    std::size_t filled = 0;
    for (const epoll_event& event : std::span(events_).first(static_cast<std::size_t>(count))) {
      if (event.data.u64 == kTimerTag) continue;
      const auto fd = static_cast<std::uint32_t>(event.data.u64);
      const bool current = serials_[fd] == static_cast<std::uint32_t>(event.data.u64 >> 32);
      out[filled++] = {current ? static_cast<int>(fd) : Event::kOrphan, fromEpoll(event.events)};
    }
    return filled;
  }

  Status arm(std::optional<Instant> deadline) noexcept override {
    itimerspec value{};
    // All zero disarms (timerfd_settime(2)), so the earliest deadline is one nanosecond.
    if (deadline)
      value.it_value =
          toTimespec(std::max(deadline->time_since_epoch(), std::chrono::nanoseconds{1}));
    if (sys().timerfdSettime(timer_.get(), TFD_TIMER_ABSTIME, &value, nullptr) < 0)
      return lastError("timerfd_settime");
    return {};
  }

 private:
  static constexpr std::uint64_t kTimerTag = ~std::uint64_t{0};

  static constexpr std::uint64_t tag(int fd, std::uint32_t serial) noexcept {
    return std::uint64_t{serial} << 32 | static_cast<std::uint32_t>(fd);
  }

  int waitKernel(int limit, Timeout timeout) noexcept {
    const bool exact = !timeout || timeout->count() <= 0 || !hasPwait2_;
    if (!exact) {
      const timespec spec = toTimespec(*timeout);
      const int count = sys().epollPwait2(set_.get(), events_.data(), limit, &spec);
      // ENOSYS before Linux 5.11; EPERM under seccomp profiles that do not know the call.
      if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
      hasPwait2_ = false;
    }
    const int milliseconds = timeout ? ceilMilliseconds(*timeout) : -1;
    return sys().epollWait(set_.get(), events_.data(), limit, milliseconds);
  }

  UniqueFd set_;
  UniqueFd timer_;
  bool hasPwait2_ = true;
  std::vector<std::uint32_t> serials_;  // by descriptor number
  std::array<epoll_event, 1024> events_;
};

}  // namespace

Result<std::unique_ptr<Backend>> createEpoll() noexcept {
  UniqueFd set(sys().epollCreate(EPOLL_CLOEXEC));
  if (!set) return lastError("epoll_create1");
  UniqueFd timer(sys().timerfdCreate(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC));
  if (!timer) return lastError("timerfd_create");
  auto backend = std::make_unique<EpollBackend>(std::move(set), std::move(timer));
  if (const Status status = backend->watchTimer(); !status) return status.error();
  return std::unique_ptr<Backend>(std::move(backend));
}

}  // namespace ioloop

#endif
