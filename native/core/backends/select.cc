#include <algorithm>
#include <cerrno>

#include "core/backends.h"
#include "core/backends/mirror.h"
#include "core/sys.h"

namespace ioloop {
namespace {

/** The longest timeout that every system takes; BSDs answer EINVAL to more. Three years. */
constexpr std::chrono::seconds kLongestTimeout{100'000'000};

/** The three questions that select(2) knows. */
struct Sets {
  fd_set read;
  fd_set write;
  fd_set except;

  Sets() noexcept {
    FD_ZERO(&read);
    FD_ZERO(&write);
    FD_ZERO(&except);
  }

  void ask(int fd, Ready interest) noexcept {
    put(fd, read, has(interest, Ready::read));
    put(fd, write, has(interest, Ready::write));
    put(fd, except, has(interest, Ready::priority));
  }

  Ready answer(int fd) const noexcept {
    Ready ready = Ready::none;
    if (FD_ISSET(fd, &read)) ready |= Ready::read;
    if (FD_ISSET(fd, &write)) ready |= Ready::write;
    if (FD_ISSET(fd, &except)) ready |= Ready::priority;
    return ready;
  }

 private:
  static void put(int fd, fd_set& set, bool member) noexcept {
    if (member)
      FD_SET(fd, &set);
    else
      FD_CLR(fd, &set);
  }
};

/**
 * select(2). Descriptors below FD_SETSIZE only; a wait costs a look at every number up to the
 * highest.
 *
 * It tells neither error nor hang-up: a failed connect shows as write (SO_ERROR has the reason, and
 * asking here would take it away), the end of a file and a reset as read.
 */
class SelectBackend final : public Backend {
 public:
  explicit SelectBackend(Mirror mirror) noexcept
      : mirror_(std::move(mirror)), highest_(mirror_.pollableFd()) {
    watched_.ask(mirror_.pollableFd(), Ready::read);
  }

  std::string_view name() const noexcept override { return "select"; }
  int pollableFd() const noexcept override { return mirror_.pollableFd(); }
  Status arm(std::optional<Instant> deadline) noexcept override { return mirror_.arm(deadline); }

  Status update(int fd, Ready before, Ready after) noexcept override {
    // An fd_set has no room for it: FD_SET would write beyond its end.
    if (before == Ready::none && fd >= FD_SETSIZE) return SysError{EINVAL, "select"};
    if (const Status status = mirror_.update(fd, before, after); !status) return status;
    watched_.ask(fd, after);
    if (after != Ready::none)
      highest_ = std::max(highest_, fd);
    else if (fd == highest_)
      highest_ = std::ranges::max(mirror_.rows(), {}, &Mirror::Row::fd).fd;
    return {};
  }

  Result<std::size_t> wait(std::span<Event> out, Timeout timeout) noexcept override {
    Sets found = watched_;
    const timespec spec = toTimespec(
        std::min<std::chrono::nanoseconds>(timeout.value_or(kLongestTimeout), kLongestTimeout));
    const int count = sys().select(highest_ + 1, &found.read, &found.write, &found.except,
                                   timeout ? &spec : nullptr);
    if (count < 0) {
      if (errno == EINTR) return std::size_t{0};
      if (errno == EBADF) return reportClosed(out);
      return lastError("select");
    }
    if (count == 0) return std::size_t{0};
    const std::size_t served =
        mirror_.collect(out, static_cast<std::size_t>(count),
                        [&](std::size_t place) { return found.answer(mirror_.rows()[place].fd); });
    return served > 0 ? served : mirror_.consult(out);
  }

 private:
  /** After EBADF, which does not say who: the closed ones as error, and unknown from now on. */
  std::size_t reportClosed(std::span<Event> out) noexcept {
    const std::size_t closed =
        mirror_.collect(out, mirror_.rows().size(), [this](std::size_t place) {
          const bool open = sys().fcntl(mirror_.rows()[place].fd, F_GETFD, 0) >= 0;
          return open ? Ready::none : Ready::error;
        });
    for (const Event& event : out.first(closed))
      static_cast<void>(update(event.fd, Ready::read, Ready::none));
    return closed;
  }

  Mirror mirror_;
  Sets watched_;
  int highest_;
};

}  // namespace

Result<std::unique_ptr<Backend>> createSelect() noexcept {
  auto mirror = Mirror::create();
  if (!mirror) return mirror.error();
  if (mirror->pollableFd() >= FD_SETSIZE) return SysError{EINVAL, "select"};
  return std::unique_ptr<Backend>(std::make_unique<SelectBackend>(std::move(*mirror)));
}

}  // namespace ioloop
