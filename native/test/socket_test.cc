#include "core/socket.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/sys.h"
#include "test/check.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

// An interruption at the first call of each kind, by a table in front of the kernel's.
int interruptions = 0;
bool interrupts() {
  if (interruptions == 0) return false;
  --interruptions;
  errno = EINTR;
  return true;
}
int interruptedAccept(int fd, sockaddr* address, socklen_t* size, int flags) {
  return interrupts() ? -1 : kKernel.accept4(fd, address, size, flags);
}
ssize_t interruptedRecv(int fd, void* target, std::size_t size, int flags) {
  return interrupts() ? -1 : kKernel.recv(fd, target, size, flags);
}
ssize_t interruptedSend(int fd, const void* source, std::size_t size, int flags) {
  return interrupts() ? -1 : kKernel.send(fd, source, size, flags);
}
int interruptedConnect(int fd, const sockaddr* address, socklen_t size) {
  kKernel.connect(fd, address, size);
  errno = EINTR;
  return -1;
}

TEST("bytes go both ways over TCP, on both stacks") {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const auto listener = listenLoopback(host);
    REQUIRE(listener);
    const auto connection = connectTo(listener->get());
    REQUIRE(connection);
    CHECK(socketError(connection->client.get()));
    CHECK(sendSome(connection->client.get(), bytesOf("ping")) == 4);
    CHECK(receive(connection->server.get()) == "ping");
    CHECK(sendSome(connection->server.get(), bytesOf("pong")) == 4);
    CHECK(receive(connection->client.get()) == "pong");
  }
}

TEST("every descriptor is non-blocking and close-on-exec") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  const auto connection = connectTo(listener->get());
  REQUIRE(connection);
  for (const int fd : {listener->get(), connection->client.get(), connection->server.get()}) {
    CHECK(isNonBlocking(fd));
    CHECK(isCloseOnExec(fd));
  }
}

TEST("both ends agree on who they are") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  const auto connection = connectTo(listener->get());
  REQUIRE(connection);
  const auto bound = localAddress(listener->get());
  const auto ours = localAddress(connection->client.get());
  const auto theirs = peerAddress(connection->server.get());
  const auto target = peerAddress(connection->client.get());
  REQUIRE(bound && ours && theirs && target);
  CHECK(bound->port() != 0);
  CHECK(ours->toString() == theirs->toString());
  CHECK(target->toString() == bound->toString());
  CHECK(!peerAddress(listener->get()) && peerAddress(listener->get()).error().code == ENOTCONN);
}

TEST("with nobody waiting accept is EAGAIN, and so is a receive with nothing sent") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  const auto none = acceptSocket(listener->get());
  REQUIRE(!none);
  CHECK(none.error().code == EAGAIN);
  const auto connection = connectTo(listener->get());
  REQUIRE(connection);
  std::array<std::byte, 8> buffer{};
  CHECK(recvSome(connection->client.get(), buffer) == -EAGAIN);
}

TEST("a refused connect is told by socketError, once") {
  Result<Address> address = SysError{EINVAL, "bind"};
  {
    const auto listener = listenLoopback();
    REQUIRE(listener);
    address = localAddress(listener->get());
    REQUIRE(address);
  }
  const auto client = connectSocket(*address);
  REQUIRE(client);
  REQUIRE(ready(client->get(), POLLOUT));
  const Status refused = socketError(client->get());
  REQUIRE(!refused);
  CHECK(refused.error().code == ECONNREFUSED);
  CHECK(socketError(client->get()));
}

TEST("a half-close ends what the peer reads and leaves our reading alone") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  const auto connection = connectTo(listener->get());
  REQUIRE(connection);
  CHECK(sendSome(connection->client.get(), bytesOf("last")) == 4);
  CHECK(shutdownWrite(connection->client.get()));
  CHECK(receive(connection->server.get()) == "last");
  CHECK(receive(connection->server.get()).empty());
  CHECK(sendSome(connection->server.get(), bytesOf("answer")) == 6);
  CHECK(receive(connection->client.get()) == "answer");
  CHECK(sendSome(connection->client.get(), bytesOf("more")) == -EPIPE);
}

TEST("writing to a peer that left is EPIPE, never a signal") {
  static volatile std::sig_atomic_t signals = 0;
  const auto before = std::signal(SIGPIPE, [](int) { signals = signals + 1; });
  const auto listener = listenLoopback();
  REQUIRE(listener);
  auto connection = connectTo(listener->get());
  REQUIRE(connection);
  CHECK(shutdownWrite(connection->server.get()));
  CHECK(sendSome(connection->server.get(), bytesOf("x")) == -EPIPE);
  CHECK(signals == 0);
  std::signal(SIGPIPE, before);
}

TEST("an interrupted call is made again") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  const auto address = localAddress(listener->get());
  REQUIRE(address);
  SysTable table = kKernel;
  table.accept4 = interruptedAccept;
  table.recv = interruptedRecv;
  table.send = interruptedSend;
  table.connect = interruptedConnect;
  installSys(table);
  const auto client = connectSocket(*address);
  interruptions = 3;
  const bool waiting = ready(listener->get(), POLLIN);
  const auto server = acceptSocket(listener->get());
  CHECK(interruptions == 0);
  interruptions = 3;
  const ssize_t sent = server ? sendSome(server->get(), bytesOf("ping")) : -1;
  CHECK(interruptions == 0);
  interruptions = 3;
  const std::string received = client ? receive(client->get()) : "no client";
  CHECK(interruptions == 0);
  installSys(kKernel);
  CHECK(waiting);
  CHECK(sent == 4);
  CHECK(received == "ping");
}

TEST("a port is one listener's, unless both share it") {
  const auto alone = listenLoopback();
  REQUIRE(alone);
  const auto taken = listenSocket(*localAddress(alone->get()));
  REQUIRE(!taken);
  CHECK(taken.error().code == EADDRINUSE);
  const auto first = listenSocket(*Address::inet("127.0.0.1", 0), {.reusePort = true});
  REQUIRE(first);
  const auto second = listenSocket(*localAddress(first->get()), {.reusePort = true});
  CHECK(second);
}

TEST("a listener on :: takes IPv4 too, unless it is told not to") {
  const auto dual = listenSocket(*Address::inet("::", 0));
  REQUIRE(dual);
  const auto viaIpv4 = Address::inet("127.0.0.1", localAddress(dual->get())->port());
  const auto client = connectSocket(*viaIpv4);
  REQUIRE(client && ready(client->get(), POLLOUT));
  CHECK(socketError(client->get()));

  const auto only = listenSocket(*Address::inet("::", 0), {.ipv6Only = true});
  REQUIRE(only);
  const auto refused =
      connectSocket(*Address::inet("127.0.0.1", localAddress(only->get())->port()));
  REQUIRE(refused && ready(refused->get(), POLLOUT));
  CHECK(!socketError(refused->get()));
}

TEST("a Unix socket connects by its path and never unlinks one") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const auto address = Address::local(directory.file("socket"));
  REQUIRE(address);
  {
    const auto listener = listenSocket(*address);
    REQUIRE(listener);
    const auto connection = connectTo(listener->get());
    REQUIRE(connection);
    CHECK(sendSome(connection->client.get(), bytesOf("ping")) == 4);
    CHECK(receive(connection->server.get()) == "ping");
    CHECK(localAddress(listener->get())->path() == address->path());
    CHECK(peerAddress(connection->client.get())->path() == address->path());
    CHECK(peerAddress(connection->server.get())->path().empty());
  }
  const auto refused = connectSocket(*address);
  REQUIRE(!refused);
  CHECK(refused.error().code == ECONNREFUSED);
  const auto stale = listenSocket(*address);
  REQUIRE(!stale);
  CHECK(stale.error().code == EADDRINUSE);
}

TEST("a path that is not there is ENOENT at once") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const auto missing = connectSocket(*Address::local(directory.file("missing")));
  REQUIRE(!missing);
  CHECK(missing.error().code == ENOENT);
}

#if defined(__linux__)
TEST("an abstract name connects, and one that is longer by a NUL is another") {
  const std::string name = '\0' + ("ioloop-socket-test-" + std::to_string(::getpid()));
  const auto listener = listenSocket(*Address::local(name));
  REQUIRE(listener);
  CHECK(connectTo(listener->get()));
  CHECK(localAddress(listener->get())->path() == name);
  const auto other = connectSocket(*Address::local(name + '\0'));
  REQUIRE(!other);
  CHECK(other.error().code == ECONNREFUSED);
}
#endif

TEST("a descriptor that is closed or no socket is an error everywhere") {
  std::array<std::byte, 8> buffer{};
  CHECK(recvSome(-1, buffer) == -EBADF);
  CHECK(sendSome(-1, buffer) == -EBADF);
  CHECK(!acceptSocket(-1));
  CHECK(!shutdownWrite(-1));
  CHECK(!socketError(-1));
  CHECK(!localAddress(-1));
  const UniqueFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  CHECK(recvSome(file.get(), buffer) == -ENOTSOCK);
  CHECK(sendSome(file.get(), buffer) == -ENOTSOCK);
}

}  // namespace
}  // namespace ioloop
