#include "core/backends/mirror.h"

#include <array>
#include <cerrno>

#include "core/backends.h"
#include "core/sys.h"

namespace ioloop {
namespace {

/** Whether `code` says that the set cannot watch files of this kind. */
constexpr bool isRefusal(int code) noexcept {
#if IOLOOP_HAS_EPOLL
  return code == EPERM;
#else
  // kqueue(2): by system and by kind of file; EINVAL on macOS for devices.
  return code == EPERM || code == ENODEV || code == EOPNOTSUPP || code == EINVAL;
#endif
}

/** Error and hang-up of `fd` as it is now. Asked by number: no stale registration deceives it. */
Ready failureOf(int fd) noexcept {
  pollfd entry{.fd = fd, .events = 0, .revents = 0};
  constexpr timespec kNow{};
  if (sys().poll(&entry, 1, &kNow) <= 0) return Ready::none;
  Ready ready = Ready::none;
  if ((entry.revents & POLLERR) != 0) ready |= Ready::error;
  if ((entry.revents & POLLHUP) != 0) ready |= Ready::hangup | Ready::read;
  return ready;
}

}  // namespace

Result<Mirror> Mirror::create() noexcept {
  auto set = createSystemSet();
  if (!set) return set.error();
  return Mirror(std::move(*set));
}

Mirror::Mirror(std::unique_ptr<Backend> set) noexcept
    : set_(std::move(set)), rows_{{set_->pollableFd(), Ready::read}} {}

std::size_t Mirror::placeOf(int fd) const noexcept {
  const auto index = static_cast<std::size_t>(fd);
  return fd >= 0 && index < places_.size() ? places_[index] : kUnknown;
}

Status Mirror::update(int fd, Ready before, Ready after) noexcept {
  if (has(after, kModes)) return SysError{ENOTSUP, "update"};
  if (before == Ready::none && after != Ready::none) return add(fd, after);
  const std::size_t place = placeOf(fd);
  if (place == kUnknown) return SysError{ENOENT, "update"};
  if (after != Ready::none) return modify(rows_[place], after);
  remove(place);
  return {};
}

Status Mirror::add(int fd, Ready interest) noexcept {
  if (const Status status = set_->update(fd, Ready::none, interest); status) {
    forgetRefused(fd);
  } else if (!isRefusal(status.error().code)) {
    return status;
  } else if (const Status refused = noteRefused(fd, interest); !refused) {
    return refused;
  }
  if (const std::size_t place = placeOf(fd); place != kUnknown) {
    rows_[place].interest = interest;
    return {};
  }
  const auto index = static_cast<std::size_t>(fd);
  if (index >= places_.size()) places_.resize(std::max(index + 1, 2 * index));
  places_[index] = static_cast<std::uint32_t>(rows_.size());
  rows_.push_back({fd, interest});
  return {};
}

Status Mirror::modify(Row& row, Ready interest) noexcept {
  if (refused_.contains(row.fd)) {
    if (!has(interest, Ready::read | Ready::write)) return SysError{EPERM, "update"};
  } else if (const Status status = set_->update(row.fd, row.interest, interest); !status) {
    return status;
  }
  row.interest = interest;
  return {};
}

void Mirror::remove(std::size_t place) noexcept {
  const Row row = rows_[place];
  // A set that has forgotten the file already, because it was closed, refuses this rightly.
  if (!forgetRefused(row.fd)) static_cast<void>(set_->update(row.fd, row.interest, Ready::none));
  rows_[place] = rows_.back();
  places_[static_cast<std::size_t>(rows_[place].fd)] = static_cast<std::uint32_t>(place);
  places_[static_cast<std::size_t>(row.fd)] = kUnknown;
  rows_.pop_back();
}

Status Mirror::noteRefused(int fd, Ready interest) noexcept {
  // Such a file never has priority data, and would be watched for nothing.
  if (!has(interest, Ready::read | Ready::write)) return SysError{EPERM, "update"};
  struct stat file{};
  if (sys().fstat(fd, &file) < 0) return lastError("fstat");
  const FileIdentity identity{file.st_dev, file.st_ino};
  if (const auto known = refused_.find(fd); known != refused_.end()) {
    if (known->second == identity) return SysError{EEXIST, "update"};
    known->second = identity;
    return {};
  }
  if (!beacon_) {
    std::array<int, 2> ends{};
    if (sys().pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) < 0) return lastError("pipe2");
    const UniqueFd writeEnd(ends[1]);
    beacon_ = UniqueFd(ends[0]);
  }
  if (refused_.empty()) {
    const Status status = set_->update(beacon_.get(), Ready::none, Ready::read);
    if (!status) return status;
  }
  refused_.emplace(fd, identity);
  return {};
}

bool Mirror::forgetRefused(int fd) noexcept {
  if (refused_.erase(fd) == 0) return false;
  if (refused_.empty()) static_cast<void>(set_->update(beacon_.get(), Ready::read, Ready::none));
  return true;
}

Result<std::size_t> Mirror::consult(std::span<Event> out) noexcept {
  if (out.empty()) return std::size_t{0};
  std::array<Event, 64> claims;
  const auto count = set_->wait(claims, std::chrono::nanoseconds{0});
  if (!count) return count.error();
  std::size_t filled = 0;
  for (const Event& claim : std::span(claims).first(*count)) {
    if (placeOf(claim.fd) == kUnknown || filled == out.size()) continue;
    const Ready failure = failureOf(claim.fd);
    if (failure != Ready::none) out[filled++] = {claim.fd, failure};
  }
  if (*count > 0 && filled == 0) out[filled++] = {Event::kOrphan, Ready::none};
  return filled;
}

}  // namespace ioloop
