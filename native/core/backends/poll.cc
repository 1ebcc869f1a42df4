#include <cerrno>
#include <vector>

#include "core/backends.h"
#include "core/backends/mirror.h"
#include "core/sys.h"

namespace ioloop {
namespace {

constexpr short toPoll(Ready interest) noexcept {
  int bits = 0;
  if (has(interest, Ready::read)) bits |= POLLIN;
  if (has(interest, Ready::write)) bits |= POLLOUT;
  if (has(interest, Ready::priority)) bits |= POLLPRI;
  return static_cast<short>(bits);
}

constexpr Ready fromPoll(int bits) noexcept {
  Ready ready = Ready::none;
  if ((bits & POLLIN) != 0) ready |= Ready::read;
  if ((bits & POLLOUT) != 0) ready |= Ready::write;
  if ((bits & POLLPRI) != 0) ready |= Ready::priority;
  if ((bits & (POLLERR | POLLNVAL)) != 0) ready |= Ready::error;
  // A pipe whose writer left reports POLLHUP alone: its reader must still see the end.
  if ((bits & POLLHUP) != 0) ready |= Ready::hangup | Ready::read;
  return ready;
}

/** poll(2). A wait costs a look at every descriptor watched, by the kernel and by us. */
class PollBackend final : public Backend {
 public:
  explicit PollBackend(Mirror mirror) noexcept
      : mirror_(std::move(mirror)), entries_{{mirror_.pollableFd(), POLLIN, 0}} {}

  std::string_view name() const noexcept override { return "poll"; }
  int pollableFd() const noexcept override { return mirror_.pollableFd(); }
  Status arm(std::optional<Instant> deadline) noexcept override { return mirror_.arm(deadline); }

  Status update(int fd, Ready before, Ready after) noexcept override {
    const std::size_t place = mirror_.placeOf(fd);
    if (const Status status = mirror_.update(fd, before, after); !status) return status;
    if (place == Mirror::kUnknown) {
      entries_.push_back({fd, toPoll(after), 0});
    } else if (after != Ready::none) {
      entries_[place].events = toPoll(after);
    } else {
      entries_[place] = entries_.back();
      entries_.pop_back();
    }
    return {};
  }

  Result<std::size_t> wait(std::span<Event> out, Timeout timeout) noexcept override {
    const timespec spec = toTimespec(timeout.value_or(std::chrono::nanoseconds{0}));
    const int count = sys().poll(entries_.data(), static_cast<nfds_t>(entries_.size()),
                                 timeout ? &spec : nullptr);
    if (count < 0) {
      if (errno == EINTR) return std::size_t{0};
      return lastError("poll");
    }
    if (count == 0) return std::size_t{0};
    const std::size_t served =
        mirror_.collect(out, static_cast<std::size_t>(count),
                        [this](std::size_t place) { return fromPoll(entries_[place].revents); });
    if (served == 0) return mirror_.consult(out);
    for (const Event& event : out.first(served))
      if (isClosed(event.fd)) static_cast<void>(update(event.fd, Ready::read, Ready::none));
    return served;
  }

 private:
  bool isClosed(int fd) const noexcept {
    return (entries_[mirror_.placeOf(fd)].revents & POLLNVAL) != 0;
  }

  Mirror mirror_;
  std::vector<pollfd> entries_;  // one for each row of the mirror, in the same order
};

}  // namespace

Result<std::unique_ptr<Backend>> createPoll() noexcept {
  auto mirror = Mirror::create();
  if (!mirror) return mirror.error();
  return std::unique_ptr<Backend>(std::make_unique<PollBackend>(std::move(*mirror)));
}

}  // namespace ioloop
