#include "core/poller.h"

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/sys.h"

namespace ioloop {
namespace {

// A duplicate of a closed descriptor reports for ever; one event too many is only bad luck.
constexpr int kOrphanTurns = 3;

}  // namespace

Result<std::unique_ptr<Poller>> Poller::create(MakeBackend makeBackend, ClockReader now) noexcept {
  auto backend = makeBackend();
  if (!backend) return backend.error();
  auto waker = Waker::create();
  if (!waker) return waker.error();
  if (const Status status = (*backend)->update(waker->fd(), Ready::none, Ready::read); !status)
    return status.error();
  UniqueFd pollable(sys().fcntl((*backend)->pollableFd(), F_DUPFD_CLOEXEC, 0));
  if (!pollable) return lastError("fcntl");
  return std::unique_ptr<Poller>(new Poller(std::move(makeBackend), std::move(now),
                                            std::move(*backend), std::move(*waker),
                                            std::move(pollable)));
}

Poller::Poller(MakeBackend makeBackend, ClockReader now, std::unique_ptr<Backend> backend,
               Waker waker, UniqueFd pollable) noexcept
    : makeBackend_(std::move(makeBackend)),
      now_(std::move(now)),
      backend_(std::move(backend)),
      waker_(std::move(waker)),
      pollable_(std::move(pollable)) {}

Result<Generation> Poller::add(int fd, Ready interest) noexcept {
  if (fd < 0) return SysError{EBADF, "add"};
  struct stat file{};
  if (sys().fstat(fd, &file) < 0) return lastError("fstat");
  Row& row = rowFor(fd);
  const bool known = row.generation != 0;
  const auto paused = paused_.find(fd);
  if (known && paused != paused_.end()) {
    // The backend does not hold a paused descriptor, so the file itself tells whether it is the
    // same one. Files without an inode of their own (eventfd(2) ...) count as the same.
    if (paused->second == FileIdentity{file.st_dev, file.st_ino}) return SysError{EEXIST, "add"};
  } else if (known && interest == Ready::none) {
    if (update(fd, row.interest, row.interest)) return SysError{EEXIST, "add"};
  }
  if (interest != Ready::none) {
    Status added = update(fd, Ready::none, interest);
    // No row, yet the kernel knows it: the file of an orphan came back under its old number.
    if (!added && added.error().code == EEXIST && !known) added = update(fd, interest, interest);
    if (!added) return added.error();
    paused_.erase(fd);
  } else {
    paused_.insert_or_assign(fd, FileIdentity{file.st_dev, file.st_ino});
  }
  if (!known) ++watched_;
  row = {nextGeneration_++, interest};
  if (nextGeneration_ == 0) nextGeneration_ = 1;
  return row.generation;
}

Status Poller::modify(int fd, Ready interest) noexcept {
  Row* row = findRow(fd);
  if (row == nullptr) return SysError{ENOENT, "modify"};
  if (interest == Ready::none) {
    if (row->interest == Ready::none) return {};
    struct stat file{};
    if (sys().fstat(fd, &file) < 0) return lastError("fstat");
    paused_.insert_or_assign(fd, FileIdentity{file.st_dev, file.st_ino});
  }
  if (const Status status = update(fd, row->interest, interest); !status) {
    if (row->interest != Ready::none) paused_.erase(fd);
    return status;
  }
  if (interest != Ready::none) paused_.erase(fd);
  row->interest = interest;
  return {};
}

bool Poller::remove(int fd) noexcept {
  Row* row = findRow(fd);
  if (row == nullptr) return false;
  // Whatever this answers, nobody is told of `fd` any more: it may be closed already.
  if (row->interest != Ready::none) (void)update(fd, row->interest, Ready::none);
  drop(*row, fd);
  return true;
}

bool Poller::forget(int fd) noexcept {
  if (!backend_->forgetsClosed()) return remove(fd);
  Row* row = findRow(fd);
  if (row == nullptr) return false;
  drop(*row, fd);
  return true;
}

void Poller::drop(Row& row, int fd) noexcept {
  paused_.erase(fd);
  row = {};
  --watched_;
}

bool Poller::isCurrent(const ReadyRow& row) const noexcept {
  const Row* current = findRow(row.fd);
  return current != nullptr && current->generation == row.generation &&
         has(row.ready, current->interest | kAlwaysReported);
}

TurnCounts Poller::turn(const TurnTables& tables, Timeout timeout) noexcept {
  if (!timeout || timeout->count() > 0) {
    const Timeout deadline = untilDeadline();
    if (deadline && (!timeout || *deadline < *timeout)) timeout = deadline;
  }
  if (events_.size() < tables.ready.size()) events_.resize(tables.ready.size());
  const auto events = std::span(events_).first(tables.ready.size());
  ++counters_.polls;
  const auto waited = wait(events, timeout);
  TurnCounts counts;
  if (waited)
    counts.ready = keepCurrent(events.first(*waited), tables.ready);
  else
    counts.wait = waited.error();
  const Instant now = now_();
  counts.due = timers_.popDue(now, tables.due);
  counters_.timersFired += counts.due;
  // A full table left some behind, who have waited long enough.
  if (counts.due > 0 && counts.due < tables.due.size()) lastFired_ = now;
  if ((waited && *waited > 0) || counts.due > 0) ++counters_.wakeUps;
  if (armed_ && *armed_ <= now) armed_.reset();
  return counts;
}

std::optional<Instant> Poller::nextTimerTurn() const noexcept {
  const auto earliest = timers_.earliest();
  if (!earliest || *earliest == kNever) return std::nullopt;
  if (timers_.size() < kManyTimers) return earliest;
  return std::max(*earliest, lastFired_ + kTimerSpacing);
}

Timeout Poller::untilDeadline() const noexcept {
  const auto next = nextTimerTurn();
  if (!next) return std::nullopt;
  return std::max(*next - now_(), std::chrono::nanoseconds{0});
}

Status Poller::armEarliest() noexcept {
  const auto next = nextTimerTurn();
  if (!next) return {};
  // An armed deadline that has passed unseen has made pollableFd() readable: a turn is coming,
  // forgets it, and this is called again.
  if (armed_ && *armed_ <= *next) return {};
  ++counters_.systemCalls;
  if (const Status status = backend_->arm(next); !status) return status;
  armed_ = next;
  return {};
}

Status Poller::interruptOn(int fd) noexcept {
  if (fd == interruptSource_) return {};
  interrupt_.reset();
  interruptSource_ = -1;
  if (fd < 0) return {};
  auto set = createSystemSet();
  if (!set) return set.error();
  if (const Status status = (*set)->update(fd, Ready::none, Ready::read | Ready::edge); !status)
    return status;
  interrupt_ = std::move(*set);
  interruptSource_ = fd;
  return {};
}

Poller::Row* Poller::findRow(int fd) const noexcept {
  const auto index = static_cast<std::size_t>(fd);
  const std::size_t page = index / kPageSize;
  if (fd < 0 || page >= pages_.size() || !pages_[page]) return nullptr;
  Row& row = pages_[page]->rows[index % kPageSize];
  return row.generation == 0 ? nullptr : &row;
}

Poller::Row& Poller::rowFor(int fd) {
  const auto index = static_cast<std::size_t>(fd);
  const std::size_t page = index / kPageSize;
  if (page >= pages_.size()) pages_.resize(page + 1);
  if (!pages_[page]) pages_[page] = std::make_unique<Page>();
  return pages_[page]->rows[index % kPageSize];
}

Status Poller::update(int fd, Ready before, Ready after) noexcept {
  ++counters_.systemCalls;
  return backend_->update(fd, before, after);
}

Result<std::size_t> Poller::wait(std::span<Event> events, Timeout timeout) noexcept {
  const bool sleeps = !timeout || timeout->count() > 0;
  ++counters_.systemCalls;
  if (!sleeps || !interrupt_) return backend_->wait(events, timeout);
  const auto found = backend_->wait(events, std::chrono::nanoseconds{0});
  if (!found || *found > 0) return found;
  // Watched for the sleep alone: the foreign loop could not come to watch us otherwise, since sets
  // that watch each other in a circle are refused (ELOOP, epoll_ctl(2)), which libuv answers by
  // abort().
  const int interrupt = interrupt_->pollableFd();
  const bool watched = update(interrupt, Ready::none, Ready::read).has_value();
  if (!watched) timeout = std::min(timeout.value_or(kUninterruptedWait), kUninterruptedWait);
  ++counters_.systemCalls;
  const auto woken = backend_->wait(events, timeout);
  if (watched) (void)update(interrupt, Ready::read, Ready::none);
  return woken;
}

std::size_t Poller::keepCurrent(std::span<const Event> events, std::span<ReadyRow> out) noexcept {
  std::size_t kept = 0;
  bool orphans = false;
  for (const Event& event : events) {
    if (event.fd == waker_.fd()) {
      waker_.drain();
      ++counters_.wakes;
      ++counters_.systemCalls;
      continue;
    }
    if (interrupt_ && event.fd == interrupt_->pollableFd()) {
      std::array<Event, 1> swallowed;
      (void)interrupt_->wait(swallowed, std::chrono::nanoseconds{0});
      continue;
    }
    const Row* row = findRow(event.fd);
    if (row == nullptr || row->interest == Ready::none) {
      orphans = true;
      ++counters_.orphanEvents;
      continue;
    }
    out[kept++] = {event.fd, event.ready & (row->interest | kAlwaysReported), row->generation};
  }
  counters_.events += kept;
  noteOrphans(orphans);
  return kept;
}

void Poller::noteOrphans(bool seen) noexcept {
  orphanTurns_ = seen ? orphanTurns_ + 1 : 0;
  if (orphanTurns_ < kOrphanTurns) return;
  orphanTurns_ = 0;
  // No descriptor left to build with: the next three turns try again.
  (void)rebuild();
}

Status Poller::rebuild() noexcept {
  auto fresh = makeBackend_();
  if (!fresh) return fresh.error();
  auto watch = [&](int fd, Ready interest) {
    ++counters_.systemCalls;
    return (*fresh)->update(fd, Ready::none, interest);
  };
  if (const Status status = watch(waker_.fd(), Ready::read); !status) return status;
  for (std::size_t page = 0; page < pages_.size(); ++page) {
    if (!pages_[page]) continue;
    for (std::size_t slot = 0; slot < kPageSize; ++slot) {
      const Row& row = pages_[page]->rows[slot];
      // What was closed behind our back cannot be added; it is as forgotten as it was before.
      if (row.generation != 0 && row.interest != Ready::none)
        (void)watch(static_cast<int>(page * kPageSize + slot), row.interest);
    }
  }
  if (sys().dup3((*fresh)->pollableFd(), pollable_.get(), O_CLOEXEC) < 0) return lastError("dup3");
  backend_ = std::move(*fresh);
  armed_.reset();
  ++counters_.rebuilds;
  return {};
}

}  // namespace ioloop
