#include "core/sim/sim_backend.h"

#include <algorithm>
#include <cerrno>

#include "core/backends.h"

namespace ioloop {
namespace {

/** What stands for an event returned in the trace. */
constexpr std::uint64_t kReturnedEvent = 201;

constexpr Ready kUnsupported = Ready::exclusive | Ready::priority;

}  // namespace

Result<std::unique_ptr<Backend>> SimBackend::create(SimNetwork& network) noexcept {
  auto real = createSystemSet();
  if (!real) return real.error();
  auto signal = Waker::create();
  if (!signal) return signal.error();
  if (const Status status = (*real)->update(signal->fd(), Ready::none, Ready::read); !status)
    return status.error();
  return std::unique_ptr<Backend>(new SimBackend(network, std::move(*real), std::move(*signal)));
}

SimBackend::SimBackend(SimNetwork& network, std::unique_ptr<Backend> real, Waker signal) noexcept
    : network_(network), real_(std::move(real)), signal_(std::move(signal)) {
  network_.subscribe(*this);
}

SimBackend::~SimBackend() {
  (void)arm(std::nullopt);
  network_.unsubscribe(*this);
}

Status SimBackend::update(int fd, Ready before, Ready after) noexcept {
  if (fd < kFirstSimFd) return real_->update(fd, before, after);
  const SimSocketId socket = SimNetwork::of(fd) == &network_ ? network_.socketOf(fd) : 0;
  if (socket == 0) return SysError{EBADF, "update"};
  if (has(after, kUnsupported)) return SysError{ENOTSUP, "update"};
  const Key key{socket, fd};
  const auto known = registrations_.find(key);
  if (before == Ready::none && known != registrations_.end()) return SysError{EEXIST, "update"};
  if (before != Ready::none && known == registrations_.end()) return SysError{ENOENT, "update"};
  if (after == Ready::none) {
    if (known != registrations_.end()) erase(known);
    current_.erase(fd);
  } else {
    Registration& registration = registrations_[key];
    registration.interest = after;
    registration.fired = false;
    registration.edge = true;
    current_[fd] = socket;
    refresh(key, registration);
  }
  showPollable();
  return {};
}

Result<std::size_t> SimBackend::wait(std::span<Event> out, Timeout timeout) noexcept {
  realFirst_ = !realFirst_;  // in turn, so that neither side starves in a small `out`
  const std::size_t early = realFirst_ ? 0 : takeSimulated(out);
  const auto real = takeReal(out.subspan(early));
  if (!real) return real.error();
  std::size_t filled = early + *real;
  filled += realFirst_ ? takeSimulated(out.subspan(filled)) : 0;
  if (filled == 0 && !deadlineCame_) {
    const auto span =
        std::max(timeout.value_or(std::chrono::nanoseconds::max()), std::chrono::nanoseconds{0});
    const Instant now = network_.now();
    network_.advanceToNext(span > kNever - now ? kNever : now + span);
    filled = takeSimulated(out);
  }
  deadlineCame_ = false;
  showPollable();
  return filled;
}

Status SimBackend::arm(std::optional<Instant> deadline) noexcept {
  if (armed_) network_.cancel(*armed_);
  armed_.reset();
  deadlineCame_ = deadline && *deadline <= network_.now();
  if (deadline && !deadlineCame_)
    armed_ = network_.schedule(*deadline, [this] {
      armed_.reset();
      deadlineCame_ = true;
      showPollable();
    });
  showPollable();
  return {};
}

void SimBackend::socketChanged(SimSocketId socket, Ready edges) noexcept {
  for (auto each = registrations_.lower_bound({socket, 0});
       each != registrations_.end() && each->first.first == socket; ++each) {
    Registration& registration = each->second;
    if (has(edges, registration.interest | kAlwaysReported)) registration.edge = true;
    refresh(each->first, registration);
  }
  showPollable();
}

void SimBackend::socketGone(SimSocketId socket) noexcept {
  for (auto each = registrations_.lower_bound({socket, 0});
       each != registrations_.end() && each->first.first == socket;)
    erase(each++);
  std::erase_if(current_, [socket](const auto& entry) { return entry.second == socket; });
  showPollable();
}

Ready SimBackend::reported(const Key& key, const Registration& registration) const noexcept {
  const bool edgeTriggered = has(registration.interest, Ready::edge);
  if (registration.fired || (edgeTriggered && !registration.edge)) return Ready::none;
  return network_.readiness(key.first) & (registration.interest | kAlwaysReported);
}

/** Lets the registration stand in ready_ when it has something to report, and only then. */
void SimBackend::refresh(const Key& key, Registration& registration) noexcept {
  const bool isReady = reported(key, registration) != Ready::none;
  if (!isReady) {
    leaveReady(registration);
  } else if (registration.place == 0) {
    registration.place = nextPlace_++;
    ready_.emplace(registration.place, key);
  }
}

void SimBackend::leaveReady(Registration& registration) noexcept {
  ready_.erase(std::exchange(registration.place, 0));
}

void SimBackend::erase(std::map<Key, Registration>::iterator registration) noexcept {
  leaveReady(registration->second);
  registrations_.erase(registration);
}

void SimBackend::showPollable() noexcept {
  const bool wanted = deadlineCame_ || !ready_.empty();
  if (wanted == signalled_) return;
  signalled_ = wanted;
  if (wanted)
    signal_.wake();
  else
    signal_.drain();
}

Result<std::size_t> SimBackend::takeReal(std::span<Event> out) noexcept {
  if (out.empty()) return std::size_t{0};
  // Lowered while the real set is asked, so that it takes the place of no event.
  if (std::exchange(signalled_, false)) signal_.drain();
  return real_->wait(out, std::chrono::nanoseconds{0});
}

std::size_t SimBackend::takeSimulated(std::span<Event> out) noexcept {
  const std::size_t count = std::min(out.size(), ready_.size());
  for (Event& event : out.first(count)) {
    const Key key = ready_.begin()->second;
    Registration& registration = registrations_[key];
    const auto current = current_.find(key.second);
    const bool orphan = current == current_.end() || current->second != key.first;
    event = {orphan ? Event::kOrphan : key.second, reported(key, registration)};
    leaveReady(registration);
    registration.edge = false;
    registration.fired = has(registration.interest, Ready::oneShot);
    refresh(key, registration);  // level-triggered: at the end of the queue
    network_.trace().fold({kReturnedEvent, key.first, static_cast<std::uint64_t>(event.ready)});
  }
  if (network_.options().shuffleReady) network_.random().shuffle(out.first(count));
  return count;
}

std::function<Result<std::unique_ptr<Backend>>()> simBackendFactory(SimNetwork& network) {
  return [&network] { return SimBackend::create(network); };
}

}  // namespace ioloop
