#include "core/sim/sim_network.h"

#include <netinet/in.h>

#include <cerrno>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>

#include "core/address.h"
#include "core/sim/sim_backend.h"
#include "core/socket.h"
#include "test/check.h"

namespace ioloop {
namespace {

using namespace std::chrono_literals;

ssize_t send(const UniqueFd& fd, const std::string& text) {
  const ssize_t size = sys().send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL);
  return size < 0 ? -errno : size;
}

/** What `receive` returns for a failure with `code`. */
std::string failure(int code) {
  // Not operator+: GCC 12 warns of the insert in its own: https://gcc.gnu.org/PR105651
  return std::string("!").append(std::to_string(code));
}

/** What was read; "" at the end; `failure(errno)`. */
std::string receive(const UniqueFd& fd, std::size_t most = 1 << 20) {
  std::string text(most, '\0');
  const ssize_t size = sys().recv(fd.get(), text.data(), text.size(), 0);
  if (size < 0) return failure(errno);
  text.resize(static_cast<std::size_t>(size));
  return text;
}

int errorOf(int result) { return result < 0 ? errno : 0; }

/** Loopback at `port`, as the system calls take it. */
class Loopback {
 public:
  explicit Loopback(std::uint16_t port) {
    address_.sin_family = AF_INET;
    address_.sin_port = htons(port);
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&address_); }
  socklen_t size() const { return sizeof address_; }

 private:
  sockaddr_in address_{};
};

UniqueFd listenAt(SimNetwork& network, std::uint16_t port, int backlog) {
  auto listener = network.socket();
  const Loopback address(port);
  CHECK(sys().bind(listener->get(), address.data(), address.size()) == 0);
  CHECK(sys().listen(listener->get(), backlog) == 0);
  return std::move(*listener);
}

UniqueFd connectTo(SimNetwork& network, std::uint16_t port) {
  auto client = network.socket();
  const Loopback address(port);
  CHECK(errorOf(sys().connect(client->get(), address.data(), address.size())) == EINPROGRESS);
  return std::move(*client);
}

UniqueFd accept(const UniqueFd& listener) {
  return UniqueFd(sys().accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK));
}

int socketError(const UniqueFd& fd) {
  int error = 0;
  socklen_t size = sizeof error;
  CHECK(sys().getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &error, &size) == 0);
  return error;
}

Ready readiness(SimNetwork& network, const UniqueFd& fd) {
  return network.readiness(network.socketOf(fd.get()));
}

TEST("what one end sends the other receives, and nothing more") {
  SimNetwork network(1);
  auto pair = network.socketPair();
  REQUIRE(pair.has_value());
  auto& [near, far] = *pair;
  CHECK(receive(near) == failure(EAGAIN));
  CHECK(send(far, "hello") == 5);
  CHECK(receive(near, 2) == "he");
  CHECK(receive(near) == "llo");
  CHECK(receive(near) == failure(EAGAIN));
}

TEST("numbers begin where the kernel's end and the lowest free one comes first") {
  SimNetwork network(1);
  auto first = network.socketPair();
  auto second = network.socketPair();
  const int lowest = (*first)[0].get();
  CHECK(lowest >= kFirstSimFd);
  CHECK((*second)[1].get() == lowest + 3);
  (*second)[0] = UniqueFd();
  (*first)[1] = UniqueFd();
  auto reused = network.socketPair();
  CHECK((*reused)[0].get() == lowest + 1);
  CHECK((*reused)[1].get() == lowest + 2);
  CHECK(errorOf(sys().close(lowest + 9)) == EBADF);
}

TEST("networks of one thread keep apart, and each thread has its own") {
  SimNetwork one(1);
  auto other = std::make_unique<SimNetwork>(1);
  auto left = one.socketPair();
  auto right = other->socketPair();
  CHECK((*right)[0].get() - (*left)[0].get() == kSimFdsPerNetwork);
  CHECK(SimNetwork::of((*right)[0].get()) == other.get());
  CHECK(one.traceHash() == other->traceHash());
  const int fd = (*left)[0].get();
  std::thread([fd] {
    CHECK(SimNetwork::of(fd) == nullptr);
    CHECK(errorOf(sys().fcntl(fd, F_GETFD, 0)) == EBADF);
  }).join();
  for (UniqueFd& end : *right) end = UniqueFd();
  other.reset();
  CHECK(SimNetwork::of(fd + kSimFdsPerNetwork) == nullptr);
}

TEST("a thread's host makes its stream sockets, whatever the domain, and nothing else") {
  SimNetwork network(1);
  CHECK(SimNetwork::exchangeHost(&network) == nullptr);
  const UniqueFd inet(sys().socket(AF_INET, SOCK_STREAM, 0));
  const UniqueFd local(sys().socket(AF_UNIX, SOCK_STREAM, 0));
  const UniqueFd datagram(sys().socket(AF_INET, SOCK_DGRAM, 0));
  CHECK(SimNetwork::of(inet.get()) == &network);
  CHECK(SimNetwork::of(local.get()) == &network);
  CHECK(datagram.get() >= 0 && datagram.get() < kFirstSimFd);
  CHECK(SimNetwork::exchangeHost(nullptr) == &network);
  const UniqueFd real(sys().socket(AF_INET, SOCK_STREAM, 0));
  CHECK(real.get() >= 0 && real.get() < kFirstSimFd);
}

TEST("a network that goes is nobody's host any more") {
  {
    SimNetwork network(1);
    SimNetwork::exchangeHost(&network);
  }
  CHECK(SimNetwork::host() == nullptr);
}

TEST("a path exists for the thread's host while its socket does, or until it is unlinked") {
  SimNetwork network(1);
  SimNetwork::exchangeHost(&network);
  const auto bound = Address::local("/nowhere/socket");
  REQUIRE(bound.has_value());
  auto listener = listenSocket(*bound, {.mode = 0600});
  REQUIRE(listener.has_value());
  struct stat status{};
  CHECK(sys().lstat("/nowhere/socket", &status) == 0);
  CHECK(S_ISSOCK(status.st_mode));
  CHECK(errorOf(sys().lstat("/nowhere/else", &status)) == ENOENT);
  CHECK(sys().unlink("/nowhere/socket") == 0);
  CHECK(errorOf(sys().unlink("/nowhere/socket")) == ENOENT);
  {
    const auto second = listenSocket(*bound);
    CHECK(second.has_value());
    CHECK(!listenSocket(*bound).has_value());
  }
  CHECK(listenSocket(*bound).has_value());
  SimNetwork::exchangeHost(nullptr);
}

TEST("what is under way is unsent, what has arrived unread") {
  SimNetwork network(1, {.minDelay = 5ms, .maxDelay = 5ms});
  auto pair = network.socketPair();
  REQUIRE(pair.has_value());
  const auto& [near, far] = *pair;
  CHECK(send(near, "1234567") == 7);
  CHECK(unsentBytes(near.get()) == 7 && unreadBytes(far.get()) == 0);
  network.advance(5ms);
  CHECK(unsentBytes(near.get()) == 0 && unreadBytes(far.get()) == 7);
  CHECK(receive(far, 3) == "123");
  CHECK(unsentBytes(near.get()) == 0 && unreadBytes(far.get()) == 4);
}

TEST("a file is sent as its bytes") {
  SimNetwork network(1);
  auto pair = network.socketPair();
  REQUIRE(pair.has_value());
  const auto& [near, far] = *pair;
  std::FILE* file = std::tmpfile();
  REQUIRE(file != nullptr);
  std::fputs("the bytes of a file", file);
  std::fflush(file);
  CHECK(sys().sendfile(near.get(), ::fileno(file), 4, 5) == 5);
  CHECK(sys().sendfile(near.get(), ::fileno(file), 19, 5) == 0);
  CHECK(receive(far) == "bytes");
  std::fclose(file);
}

TEST("real descriptors go to the table before") {
  SimNetwork network(1);
  std::array<int, 2> ends{-1, -1};
  REQUIRE(sys().pipe2(ends.data(), O_CLOEXEC) == 0);
  const UniqueFd reader(ends[0]);
  const UniqueFd writer(ends[1]);
  CHECK(sys().write(writer.get(), "x", 1) == 1);
  char byte = 0;
  CHECK(sys().read(reader.get(), &byte, 1) == 1);
  CHECK(byte == 'x');
}

TEST("a full buffer takes no more until the peer has read") {
  SimNetwork network(1, {.bufferSize = 10});
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  CHECK(send(near, "0123456789abc") == 10);
  CHECK(send(near, "d") == -EAGAIN);
  CHECK(!has(readiness(network, near), Ready::write));
  CHECK(receive(far, 4) == "0123");
  CHECK(has(readiness(network, near), Ready::write));
  CHECK(send(near, "abcdef") == 4);
  CHECK(receive(far) == "456789abcd");
}

TEST("a half-close is read after the bytes before it, and the other half goes on") {
  SimNetwork network(1);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  CHECK(send(near, "last") == 4);
  CHECK(sys().shutdown(near.get(), SHUT_WR) == 0);
  CHECK(send(near, "more") == -EPIPE);
  CHECK(receive(far) == "last");
  CHECK(receive(far).empty());
  CHECK(send(far, "answer") == 6);
  CHECK(receive(near) == "answer");
  CHECK(!has(readiness(network, far), Ready::hangup));
  CHECK(sys().shutdown(far.get(), SHUT_WR) == 0);
  CHECK(has(readiness(network, far), Ready::hangup));
}

TEST("a close delivers what was sent, then the end; writing to it is answered by a reset") {
  SimNetwork network(1);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  CHECK(send(near, "bye") == 3);
  near = UniqueFd();
  CHECK(receive(far) == "bye");
  CHECK(receive(far).empty());
  CHECK(send(far, "x") == 1);
  CHECK(has(readiness(network, far), Ready::error));
  CHECK(send(far, "x") == -ECONNRESET);
  CHECK(send(far, "x") == -EPIPE);
}

TEST(
    "a close with bytes unread resets: received bytes stay readable, then one error, then the "
    "end") {
  SimNetwork network(1);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  CHECK(send(near, "kept") == 4);
  CHECK(send(far, "unread") == 6);
  near = UniqueFd();
  CHECK(readiness(network, far) == (Ready::read | Ready::write | Ready::error | Ready::hangup));
  CHECK(receive(far) == "kept");
  CHECK(receive(far) == failure(ECONNRESET));
  CHECK(receive(far).empty());
  CHECK(errorOf(sys().shutdown(far.get(), SHUT_WR)) == ENOTCONN);
}

TEST("SO_LINGER at 0 resets and loses what is under way") {
  SimNetwork network(1, {.minDelay = 1ms, .maxDelay = 1ms});
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  CHECK(send(near, "arrives") == 7);
  network.advance(1ms);
  CHECK(send(near, "lost") == 4);
  const linger abort{.l_onoff = 1, .l_linger = 0};
  CHECK(sys().setsockopt(near.get(), SOL_SOCKET, SO_LINGER, &abort, sizeof abort) == 0);
  near = UniqueFd();
  network.advance(10ms);
  CHECK(receive(far) == "arrives");
  CHECK(receive(far) == failure(ECONNRESET));
}

TEST("what is sent arrives after the delay, never before, in order") {
  SimNetwork network(3, {.minDelay = 2ms, .maxDelay = 9ms});
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  std::string sent;
  for (char letter = 'a'; letter <= 'z'; ++letter) {
    CHECK(send(near, std::string(1, letter)) == 1);
    sent.push_back(letter);
  }
  near = UniqueFd();
  network.advance(2ms - 1ns);
  CHECK(receive(far) == failure(EAGAIN));
  std::string received;
  while (network.nextEvent()) {
    network.advanceToNext(kNever);
    const std::string some = receive(far);
    if (some != failure(EAGAIN)) received += some;
  }
  CHECK(received == sent);
  CHECK(network.now() <= Instant{1s} + 9ms);
  CHECK(receive(far).empty());
}

TEST("a connection is asked for, queued, accepted; both ends know their names") {
  SimNetwork network(1, {.minDelay = 1ms, .maxDelay = 1ms});
  const UniqueFd listener = listenAt(network, 80, 5);
  const UniqueFd client = connectTo(network, 80);
  CHECK(readiness(network, client) == Ready::none);
  CHECK(send(client, "early") == -EAGAIN);
  CHECK(!accept(listener));
  network.advance(1ms);
  CHECK(readiness(network, listener) == Ready::read);
  CHECK(readiness(network, client) == Ready::none);
  network.advance(1ms);
  CHECK(readiness(network, client) == Ready::write);
  CHECK(socketError(client) == 0);
  const UniqueFd server = accept(listener);
  REQUIRE(server.get() >= kFirstSimFd);
  CHECK(!accept(listener));
  sockaddr_in ours{};
  sockaddr_in theirs{};
  socklen_t size = sizeof ours;
  CHECK(sys().getsockname(client.get(), reinterpret_cast<sockaddr*>(&ours), &size) == 0);
  CHECK(sys().getpeername(server.get(), reinterpret_cast<sockaddr*>(&theirs), &size) == 0);
  CHECK(ours.sin_port != 0 && ours.sin_port == theirs.sin_port);
  CHECK(send(client, "hi") == 2);
  network.advance(1ms);
  CHECK(receive(server) == "hi");
}

TEST("a full accept queue keeps clients waiting until there is room") {
  SimNetwork network(1);
  const UniqueFd listener = listenAt(network, 80, 2);
  std::vector<UniqueFd> clients;
  for (int i = 0; i < 4; ++i) clients.push_back(connectTo(network, 80));
  CHECK(readiness(network, clients[1]) == Ready::write);
  CHECK(readiness(network, clients[2]) == Ready::none);
  clients[2] = UniqueFd();  // gives up
  const UniqueFd first = accept(listener);
  CHECK(readiness(network, clients[3]) == Ready::write);
  const UniqueFd second = accept(listener);
  const UniqueFd third = accept(listener);
  CHECK(first && second && third);
  CHECK(!accept(listener));
}

TEST("nobody there refuses, a listener that ends resets who was queued and refuses who waited") {
  SimNetwork network(1);
  const UniqueFd nobody = connectTo(network, 80);
  CHECK(has(readiness(network, nobody), Ready::write));
  CHECK(has(readiness(network, nobody), Ready::error));
  CHECK(socketError(nobody) == ECONNREFUSED);
  CHECK(socketError(nobody) == 0);
  UniqueFd listener = listenAt(network, 80, 1);
  const UniqueFd queued = connectTo(network, 80);
  const UniqueFd waiting = connectTo(network, 80);
  listener = UniqueFd();
  CHECK(socketError(queued) == ECONNRESET);
  CHECK(socketError(waiting) == ECONNREFUSED);
}

TEST("a port is taken while its socket lives, and free after") {
  SimNetwork network(1);
  UniqueFd listener = listenAt(network, 80, 1);
  const Loopback address(80);
  auto second = network.socket();
  CHECK(errorOf(sys().bind(second->get(), address.data(), address.size())) == EADDRINUSE);
  listener = UniqueFd();
  CHECK(sys().bind(second->get(), address.data(), address.size()) == 0);
}

TEST("a duplicate keeps the connection until it is closed too") {
  SimNetwork network(1);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  UniqueFd copy(sys().fcntl(near.get(), F_DUPFD_CLOEXEC, 0));
  REQUIRE(copy.get() >= kFirstSimFd);
  near = UniqueFd();
  CHECK(receive(far) == failure(EAGAIN));
  CHECK(send(copy, "still here") == 10);
  CHECK(receive(far) == "still here");
  copy = UniqueFd();
  CHECK(receive(far).empty());
}

TEST("short reads and writes move some bytes, never none; EAGAIN and EINTR come by chance") {
  SimNetwork network(11,
                     {.shortRead = 0.5, .shortWrite = 0.5, .spuriousAgain = 0.2, .interrupt = 0.2});
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  const std::string text = "the quick brown fox jumps over the lazy dog";
  std::size_t sent = 0;
  std::string received;
  int again = 0;
  int interrupted = 0;
  int parts = 0;
  const auto count = [&](int code) { ++(code == EINTR ? interrupted : again); };
  for (int round = 0; round < 200; ++round) {
    const ssize_t size = send(near, text.substr(sent));
    if (size < 0)
      count(static_cast<int>(-size));
    else
      sent = (sent + static_cast<std::size_t>(size)) % text.size();
    const std::string some = receive(far);
    if (some == failure(EINTR) || some == failure(EAGAIN))
      count(some == failure(EINTR) ? EINTR : EAGAIN);
    else
      received += some, ++parts;
  }
  CHECK(again > 10 && interrupted > 10 && parts > 10);
  REQUIRE(received.size() > text.size());
  for (std::size_t i = 0; i < received.size(); ++i)
    if (received[i] != text[i % text.size()]) return check::fail(__FILE__, __LINE__, "order");
}

TEST("an edge is told again when EAGAIN was only by chance") {
  SimNetwork network(1, {.spuriousAgain = 0.5});
  auto backend = SimBackend::create(network);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  REQUIRE((*backend)->update(near.get(), Ready::none, Ready::read | Ready::edge).has_value());
  for (int round = 0; round < 50; ++round) {
    while (send(far, "x") < 0) {
    }
    std::string received;
    while (received.empty()) {
      std::array<Event, 4> events;
      const auto count = (*backend)->wait(events, 0ns);
      REQUIRE(count.has_value() && *count == 1);
      const std::string some = receive(near);
      if (some == "x") received = some;
    }
  }
}

/** Two ends that talk at random over a bad line; everything follows from the seed. */
std::uint64_t traceOf(std::uint64_t seed) {
  SimNetwork network(seed, {.bufferSize = 300,
                            .maxDelay = 5ms,
                            .shortRead = 0.3,
                            .shortWrite = 0.3,
                            .spuriousAgain = 0.1,
                            .interrupt = 0.1});
  auto backend = SimBackend::create(network);
  SeededRandom random(seed + 1);
  std::vector<std::array<UniqueFd, 2>> pairs;
  for (int i = 0; i < 8; ++i) {
    pairs.push_back(std::move(*network.socketPair()));
    for (const UniqueFd& end : pairs.back())
      (void)(*backend)->update(end.get(), Ready::none, Ready::read | Ready::write);
  }
  for (int turn = 0; turn < 300; ++turn) {
    std::array<Event, 5> events;
    const auto count = (*backend)->wait(events, 1ms);
    CHECK(count.has_value());
    for (const Event& event : std::span(events).first(*count)) {
      std::array<char, 100> bytes{};
      if (has(event.ready, Ready::write))
        (void)sys().send(event.fd, bytes.data(), 1 + random.below(99), 0);
      if (has(event.ready, Ready::read)) (void)sys().recv(event.fd, bytes.data(), 100, 0);
    }
  }
  return network.traceHash();
}

TEST("one seed gives one trace, here and on every machine; another seed another") {
  CHECK(traceOf(1) == traceOf(1));
  // Written down, so that every machine is held to it; a change of behaviour changes it too.
  CHECK(traceOf(1) == 0x36e495041f479145);
  CHECK(traceOf(1) != traceOf(2));
}

TEST("a wait moves the clock to what happens next, one step at a time") {
  SimNetwork network(1, {.minDelay = 3ms, .maxDelay = 3ms});
  auto backend = SimBackend::create(network);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  REQUIRE((*backend)->update(near.get(), Ready::none, Ready::read).has_value());
  CHECK(send(far, "x") == 1);
  const Instant start = network.now();
  std::array<Event, 4> events;
  CHECK(*(*backend)->wait(events, 1ms) == 0);
  CHECK(network.now() == start + 1ms);
  CHECK(*(*backend)->wait(events, std::nullopt) == 1);
  CHECK(network.now() == start + 3ms);
  CHECK(receive(near) == "x");
  CHECK(*(*backend)->wait(events, std::nullopt) == 0);
  CHECK(network.now() == start + 3ms);
}

TEST("a wait stops where another loop of the network has something to do") {
  SimNetwork network(1);
  auto ours = SimBackend::create(network);
  auto theirs = SimBackend::create(network);
  const Instant start = network.now();
  REQUIRE((*theirs)->arm(start + 2ms).has_value());
  std::array<Event, 4> events;
  CHECK(*(*ours)->wait(events, 10ms) == 0);
  CHECK(network.now() == start + 2ms);
  CHECK(*(*ours)->wait(events, 8ms) == 0);
  CHECK(network.now() == start + 10ms);
}

TEST("closed under its registration, a duplicate's events are orphans") {
  SimNetwork network(1);
  auto backend = SimBackend::create(network);
  auto pair = network.socketPair();
  auto& [near, far] = *pair;
  const int number = near.get();
  REQUIRE((*backend)->update(number, Ready::none, Ready::read).has_value());
  const UniqueFd copy(sys().fcntl(number, F_DUPFD_CLOEXEC, 0));
  near = UniqueFd();
  CHECK(send(far, "x") == 1);
  auto reused = network.socketPair();
  REQUIRE((*reused)[0].get() == number);
  REQUIRE((*backend)->update(number, Ready::none, Ready::read).has_value());
  std::array<Event, 4> events;
  REQUIRE(*(*backend)->wait(events, 0ns) == 1);
  CHECK(events[0].fd == Event::kOrphan);
}

}  // namespace
}  // namespace ioloop
