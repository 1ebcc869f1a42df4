#include "core/sim/sim_network.h"

#include <algorithm>
#include <cerrno>

namespace ioloop {
namespace {

/** By slot: the range of numbers that a network has. Empty slots are taken again. */
thread_local std::vector<SimNetwork*> networks;

thread_local SimNetwork* threadHost = nullptr;

int takeSlot(SimNetwork* network) {
  auto slot = std::ranges::find(networks, nullptr);
  if (slot == networks.end()) slot = networks.insert(slot, nullptr);
  *slot = network;
  return static_cast<int>(slot - networks.begin());
}

/** What stands for a delivery in the trace. */
enum class Delivery : std::uint64_t { bytes = 1, end, reset, knock, established };

}  // namespace

SimNetwork::SimNetwork(std::uint64_t seed, const SimOptions& options)
    : options_(options), random_(seed), base_(kFirstSimFd + takeSlot(this) * kSimFdsPerNetwork) {
  installSimRoutes();
}

SimNetwork::~SimNetwork() {
  if (threadHost == this) threadHost = nullptr;
  std::ranges::replace(networks, this, nullptr);
}

SimNetwork* SimNetwork::exchangeHost(SimNetwork* network) noexcept {
  return std::exchange(threadHost, network);
}

SimNetwork* SimNetwork::host() noexcept { return threadHost; }

SimNetwork* SimNetwork::of(int fd) noexcept {
  if (fd < kFirstSimFd) return nullptr;
  const auto slot = static_cast<std::size_t>((fd - kFirstSimFd) / kSimFdsPerNetwork);
  return slot < networks.size() ? networks[slot] : nullptr;
}

Result<UniqueFd> SimNetwork::socket(int family) {
  SimSocket& made = create(family);
  const int fd = addDescriptor(made);
  if (fd < 0) {
    sockets_.erase(made.id);
    return SysError{-fd, "socket"};
  }
  return UniqueFd(fd);
}

Result<std::array<UniqueFd, 2>> SimNetwork::socketPair() {
  auto left = socket(AF_UNIX);
  if (!left) return SysError{left.error().code, "socketpair"};
  auto right = socket(AF_UNIX);
  if (!right) return SysError{right.error().code, "socketpair"};
  SimSocket& one = *open(left->get());
  SimSocket& other = *open(right->get());
  one.state = other.state = SimSocket::State::connected;
  one.peer = other.id;
  other.peer = one.id;
  return std::array{std::move(*left), std::move(*right)};
}

void SimNetwork::advance(std::chrono::nanoseconds duration) {
  const Instant end = duration > kNever - now_ ? kNever : now_ + duration;
  while (!agenda_.empty() && agenda_.begin()->first.first <= end) {
    auto due = agenda_.extract(agenda_.begin());
    now_ = std::max(now_, due.key().first);
    performing_ = true;
    due.mapped()();
    performing_ = false;
  }
  now_ = std::max(now_, end);
}

void SimNetwork::advanceToNext(Instant limit) {
  const Instant next = std::min(limit, nextEvent().value_or(kNever));
  if (next != kNever) advance(std::max(next - now_, std::chrono::nanoseconds{0}));
}

std::optional<Instant> SimNetwork::nextEvent() const noexcept {
  if (agenda_.empty()) return std::nullopt;
  return agenda_.begin()->first.first;
}

SimNetwork::Appointment SimNetwork::schedule(Instant at, std::function<void()> action) {
  const Appointment appointment{at, nextAppointment_++};
  agenda_.emplace(appointment, std::move(action));
  return appointment;
}

SimSocketId SimNetwork::socketOf(int fd) const noexcept {
  const std::uint64_t number = numberOf(fd);
  return number < descriptors_.size() ? descriptors_[static_cast<std::size_t>(number)] : 0;
}

Ready SimNetwork::readiness(SimSocketId socket) const noexcept {
  const auto found = sockets_.find(socket);
  return found == sockets_.end() ? Ready::none : found->second.readiness(options_.bufferSize);
}

SimSocketId SimNetwork::boundTo(const std::string& name) const noexcept {
  const auto bound = names_.find(name);
  return bound == names_.end() ? 0 : bound->second;
}

SimSocket* SimNetwork::find(SimSocketId id) noexcept {
  const auto found = sockets_.find(id);
  return found == sockets_.end() ? nullptr : &found->second;
}

SimSocket& SimNetwork::create(int family) {
  SimSocket& made = sockets_[nextSocket_];
  made.id = nextSocket_++;
  made.family = family;
  made.local.storage.ss_family = made.remote.storage.ss_family = static_cast<sa_family_t>(family);
  made.local.size = made.remote.size = sizeof(sa_family_t);
  return made;
}

int SimNetwork::addDescriptor(SimSocket& socket) {
  int number = static_cast<int>(descriptors_.size());
  if (!free_.empty()) {
    number = *free_.begin();
    free_.erase(free_.begin());
  } else if (number == kSimFdsPerNetwork) {
    return -EMFILE;
  } else {
    descriptors_.push_back(0);
  }
  descriptors_[static_cast<std::size_t>(number)] = socket.id;
  ++socket.descriptors;
  return base_ + number;
}

int SimNetwork::close(int fd) {
  SimSocket* socket = open(fd);
  if (socket == nullptr) return -EBADF;
  descriptors_[static_cast<std::size_t>(numberOf(fd))] = 0;
  free_.insert(fd - base_);
  if (--socket->descriptors == 0) destroy(socket->id);
  return 0;
}

void SimNetwork::destroy(SimSocketId id) {
  // Out of the table first: what it sends on its way out must not come back to it.
  SimSocket socket = std::move(sockets_.extract(id).mapped());
  if (!socket.name.empty() && names_[socket.name] == id) names_.erase(socket.name);
  for (SimObserver* observer : observers_) observer->socketGone(id);
  for (const SimSocketId queued : socket.acceptQueue) {
    if (SimSocket* peer = find(find(queued)->peer)) peer->deaf = true;
    find(queued)->closing = {.l_onoff = 1, .l_linger = 0};
    destroy(queued);
  }
  for (const SimSocketId client : socket.waiting)
    if (SimSocket* refused = find(client)) reset(*refused, ECONNREFUSED);
  if (socket.peer == 0 || socket.state == SimSocket::State::dead) return;
  const bool aborts = socket.closing.l_onoff != 0 && socket.closing.l_linger == 0;
  if (aborts || !socket.received.empty() || socket.state == SimSocket::State::connecting)
    sendReset(socket);
  else if (!socket.writeShut)
    sendEnd(socket);
}

void SimNetwork::changed(const SimSocket& socket, Ready edges) noexcept {
  for (SimObserver* observer : observers_) observer->socketChanged(socket.id, edges);
}

/** The errno that chance puts in the way of a call, 0 for none. */
int SimNetwork::disturb(const SimSocket& socket, Ready edges) {
  if (random_.chance(options_.interrupt)) return EINTR;
  if (!random_.chance(options_.spuriousAgain)) return 0;
  // Whoever goes by edges sleeps after EAGAIN: there has to be another.
  changed(socket, edges);
  return EAGAIN;
}

std::chrono::nanoseconds SimNetwork::drawDelay() noexcept {
  const auto spread = options_.maxDelay - options_.minDelay;
  if (spread.count() <= 0) return options_.minDelay;
  return options_.minDelay + std::chrono::nanoseconds{static_cast<std::int64_t>(
                                 random_.below(static_cast<std::uint64_t>(spread.count()) + 1))};
}

void SimNetwork::deliver(SimSocket& from, std::function<void(SimSocket* to)> arrival) {
  from.lastArrival = std::max(from.lastArrival, now_ + drawDelay());
  perform(from.lastArrival,
          [this, to = from.peer, arrival = std::move(arrival)] { arrival(find(to)); });
}

void SimNetwork::perform(Instant at, std::function<void()> action) {
  // While the agenda is worked off, what is due at once still waits behind what was due before.
  if (at > now_ || performing_)
    schedule(at, std::move(action));
  else
    action();
}

void SimNetwork::sendBytes(SimSocket& from, std::vector<std::byte> bytes) {
  from.outstanding += bytes.size();
  deliver(from, [this, sender = from.id, bytes = std::move(bytes)](SimSocket* to) {
    if (to == nullptr || to->state == SimSocket::State::dead) {
      // Nobody is there any more, and says so.
      perform(now_ + drawDelay(), [this, sender] {
        if (SimSocket* socket = find(sender)) reset(*socket, ECONNRESET);
      });
    } else if (!to->deaf) {
      trace_.fold({static_cast<std::uint64_t>(Delivery::bytes), to->id, bytes.size()});
      to->received.append(bytes);
      changed(*to, Ready::read);
    }
  });
}

void SimNetwork::sendEnd(SimSocket& from) {
  deliver(from, [this](SimSocket* to) {
    if (to == nullptr || to->deaf) return;
    trace_.fold({static_cast<std::uint64_t>(Delivery::end), to->id});
    to->ended = true;
    changed(*to, Ready::read | Ready::hangup);
  });
}

void SimNetwork::sendReset(SimSocket& from) {
  if (SimSocket* peer = find(from.peer)) peer->deaf = true;
  deliver(from, [this](SimSocket* to) {
    if (to != nullptr) reset(*to, ECONNRESET);
  });
}

void SimNetwork::reset(SimSocket& socket, int error) {
  if (socket.state == SimSocket::State::dead) return;
  trace_.fold({static_cast<std::uint64_t>(Delivery::reset), socket.id});
  socket.state = SimSocket::State::dead;
  socket.error = error;
  changed(socket, Ready::read | Ready::write | kAlwaysReported);
}

void SimNetwork::knock(SimSocketId clientId, const std::string& name) {
  SimSocket* client = find(clientId);
  if (client == nullptr) return;
  SimSocket* listener = find(boundTo(name));
  trace_.fold({static_cast<std::uint64_t>(Delivery::knock), clientId});
  if (listener == nullptr || listener->state != SimSocket::State::listening) {
    perform(now_ + drawDelay(), [this, clientId] {
      if (SimSocket* refused = find(clientId)) reset(*refused, ECONNREFUSED);
    });
  } else if (listener->acceptQueue.size() < listener->backlog) {
    admit(*listener, *client);
  } else {
    listener->waiting.push_back(clientId);
  }
}

void SimNetwork::admit(SimSocket& listener, SimSocket& client) {
  SimSocket& server = create(listener.family);
  server.state = SimSocket::State::connected;
  server.local = listener.local;
  server.remote = client.local;
  server.peer = client.id;
  client.peer = server.id;
  listener.acceptQueue.push_back(server.id);
  changed(listener, Ready::read);
  deliver(server, [this](SimSocket* to) {
    if (to == nullptr || to->state != SimSocket::State::connecting) return;
    trace_.fold({static_cast<std::uint64_t>(Delivery::established), to->id});
    to->state = SimSocket::State::connected;
    changed(*to, Ready::write);
  });
}

}  // namespace ioloop
