// What streams ask of core/socket.h beyond connecting and plain transfers.

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <climits>
#include <string>
#include <vector>

#include "core/socket.h"
#include "core/socket_options.h"
#include "test/check.h"
#include "test/fault_injector.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

/** Everything that arrives at `fd` until `size` bytes have. */
std::string receiveAll(int fd, std::size_t size) {
  std::string all;
  while (all.size() < size && ready(fd, POLLIN)) {
    std::array<char, 65536> buffer{};
    const ssize_t part = recvSome(fd, std::as_writable_bytes(std::span(buffer)));
    if (part <= 0) break;
    all.append(buffer.data(), static_cast<std::size_t>(part));
  }
  return all;
}

std::vector<iovec> partsOf(std::vector<std::string>& texts) {
  std::vector<iovec> parts;
  parts.reserve(texts.size());
  for (std::string& text : texts) parts.push_back({text.data(), text.size()});
  return parts;
}

// --- Listening and connecting ---

TEST("accept tells who it is in numbers, in the order of the network") {
  const auto listener = listenLoopback("::");
  REQUIRE(listener);
  const auto address = localAddress(listener->get());
  REQUIRE(address);
  const auto client = connectSocket(*Address::inet("127.0.0.1", address->port()));
  REQUIRE(client);
  REQUIRE(ready(listener->get(), POLLIN));
  Peer peer;
  const auto accepted = acceptSocket(listener->get(), peer);
  REQUIRE(accepted);
  CHECK(peer.family == 6 && peer.scope == 0);
  CHECK(peer.port == localAddress(client->get())->port());
  CHECK(peer.words == std::array<std::int32_t, 4>{0, 0, 0xffff, 0x7f000001});
  const Peer before = peer;
  CHECK(acceptSocket(listener->get(), peer).error().code == EAGAIN);
  CHECK(peer.port == before.port);
}

TEST("a Unix socket has its mode before anybody can connect, and a failure leaves no file") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.file("socket");
  const auto address = Address::local(path);
  REQUIRE(address);
  {
    FaultInjector faults(1);
    faults.on<&SysTable::chmod>().failCall(1, EPERM);
    CHECK(listenSocket(*address, {.mode = 0600}).error().code == EPERM);
    CHECK(faults.on<&SysTable::listen>().calls() == 0);
  }
  const auto listener = listenSocket(*address, {.mode = 0640});
  REQUIRE(listener);
  struct stat status{};
  CHECK(::stat(path.c_str(), &status) == 0 && (status.st_mode & 0777) == 0640);
  Peer peer{.family = 4};
  const auto client = connectSocket(*address);
  CHECK(client && acceptSocket(listener->get(), peer) && peer.family == 0);
}

TEST("a file that exists is never unlinked when listening there fails") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.write("socket", "");
  CHECK(listenSocket(*Address::local(path), {.mode = 0600}).error().code == EADDRINUSE);
  struct stat status{};
  CHECK(::stat(path.c_str(), &status) == 0);
}

TEST("a connection comes from the address and the port that were asked for") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  const auto target = localAddress(listener->get());
  REQUIRE(target);
  const auto any = connectSocket(*target, *Address::inet("127.0.0.2", 0));
  REQUIRE(any);
  const auto chosen = localAddress(any->get());
  CHECK(chosen && chosen->host() == "127.0.0.2" && chosen->port() != 0);
  const auto same = connectSocket(*target, *Address::inet("127.0.0.3", chosen->port()));
  REQUIRE(same);
  CHECK(localAddress(same->get())->port() == chosen->port());
  CHECK(connectSocket(*target, *Address::inet("192.0.2.1", 0)).error().code == EADDRNOTAVAIL);
}

TEST("closing with a reset is what the peer sees") {
  auto connection = connectLoopback();
  REQUIRE(connection);
  CHECK(resetOnClose(connection->client.get()));
  connection->client = UniqueFd();
  CHECK(receive(connection->server.get()) == "error " + std::to_string(ECONNRESET));
}

// --- Adoption ---

TEST("a connected socket is adopted, whoever made it") {
  std::array<int, 2> pair{-1, -1};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0);
  const UniqueFd near(pair[0]);
  const UniqueFd far(pair[1]);
  CHECK(adoptSocket(near.get()));
  CHECK(isNonBlocking(near.get()) && isCloseOnExec(near.get()));
  CHECK(!isNonBlocking(far.get()));
}

TEST("what is no connected stream socket is refused, and left as it is") {
  const auto listener = listenLoopback();
  REQUIRE(listener);
  std::array<int, 2> pipe{-1, -1};
  REQUIRE(::pipe(pipe.data()) == 0);
  const UniqueFd reading(pipe[0]);
  const UniqueFd writing(pipe[1]);
  const UniqueFd datagrams(::socket(AF_INET, SOCK_DGRAM, 0));
  const UniqueFd fresh(::socket(AF_INET, SOCK_STREAM, 0));
  CHECK(adoptSocket(reading.get()).error().code == ENOTSOCK);
  CHECK(adoptSocket(datagrams.get()).error().code == EINVAL);
  CHECK(adoptSocket(fresh.get()).error().code == ENOTCONN);
  CHECK(adoptSocket(listener->get()).error().code == ENOTCONN);
  CHECK(adoptSocket(-1).error().code == EBADF);
  CHECK(!isNonBlocking(reading.get()) && !isNonBlocking(fresh.get()));
}

TEST("a listener is adopted when it listens") {
  const UniqueFd fresh(::socket(AF_INET, SOCK_STREAM, 0));
  REQUIRE(fresh);
  CHECK(adoptListener(fresh.get()).error().code == EINVAL);
  CHECK(::listen(fresh.get(), 1) == 0);
  CHECK(adoptListener(fresh.get()));
  CHECK(isNonBlocking(fresh.get()) && isCloseOnExec(fresh.get()));
  const UniqueFd datagrams(::socket(AF_INET, SOCK_DGRAM, 0));
  CHECK(adoptListener(datagrams.get()).error().code == EINVAL);
}

// --- Transfers ---

TEST("parts leave in one call, empty ones among them") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  std::vector<std::string> texts{"one ", "", "two ", "three"};
  FaultInjector faults(1);
  faults.on<&SysTable::sendmsg>().failCall(1, EINTR);
  CHECK(sendSome(connection->client.get(), partsOf(texts)) == 13);
  CHECK(faults.on<&SysTable::sendmsg>().calls() == 2);
  CHECK(receive(connection->server.get()) == "one two three");
}

TEST("of more parts than the kernel takes the first go, and say so") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  std::vector<std::string> texts(IOV_MAX + 5, "x");
  CHECK(sendSome(connection->client.get(), partsOf(texts)) == IOV_MAX);
  CHECK(receiveAll(connection->server.get(), IOV_MAX).size() == IOV_MAX);
}

TEST("a full socket takes a part, then nothing; a peer that left is EPIPE without a signal") {
  auto connection = connectLoopback();
  REQUIRE(connection);
  std::vector<std::string> texts(16, std::string(std::size_t{1} << 20, 'x'));
  const ssize_t taken = sendSome(connection->client.get(), partsOf(texts));
  CHECK(taken > 0 && taken < ssize_t{16} << 20);
  while (sendSome(connection->client.get(), partsOf(texts)) > 0) continue;
  CHECK(sendSome(connection->client.get(), partsOf(texts)) == -EAGAIN);
  CHECK(unsentBytes(connection->client.get()) > 0);
  CHECK(unreadBytes(connection->server.get()) > 0);
  CHECK(resetOnClose(connection->server.get()));
  connection->server = UniqueFd();
  REQUIRE(ready(connection->client.get(), POLLIN));
  CHECK(sendSome(connection->client.get(), partsOf(texts)) == -ECONNRESET);
  CHECK(sendSome(connection->client.get(), partsOf(texts)) == -EPIPE);
}

TEST("a file is sent from its offset, to its end, and its own offset stays") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const UniqueFd file(::open(directory.write("file", "0123456789").c_str(), O_RDONLY));
  const auto connection = connectLoopback();
  REQUIRE(connection);
  const int socket = connection->client.get();
  CHECK(sendFileSome(socket, file.get(), 3, 4) == 4);
  CHECK(receive(connection->server.get()) == "3456");
  CHECK(sendFileSome(socket, file.get(), 8, 100) == 2);
  CHECK(receive(connection->server.get()) == "89");
  CHECK(sendFileSome(socket, file.get(), 10, 100) == 0);
  CHECK(sendFileSome(socket, file.get(), 0, 0) == 0);
  CHECK(::lseek(file.get(), 0, SEEK_CUR) == 0);
}

TEST("a file is sent from beyond four gigabytes") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const off_t far = (off_t{1} << 32) + 7;
  const UniqueFd file(::open(directory.write("file", "").c_str(), O_RDWR));
  REQUIRE(::pwrite(file.get(), "here", 4, far) == 4);
  const auto connection = connectLoopback();
  REQUIRE(connection);
  CHECK(sendFileSome(connection->client.get(), file.get(), far, 100) == 4);
  CHECK(receive(connection->server.get()) == "here");
}

TEST("a file to a peer that left is EPIPE without a signal, and interruptions are no answer") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const UniqueFd file(::open(directory.write("file", "text").c_str(), O_RDONLY));
  const auto connection = connectLoopback();
  REQUIRE(connection);
  const int socket = connection->client.get();
  {
    FaultInjector faults(1);
    faults.on<&SysTable::sendfile>().failCall(1, EINTR);
    CHECK(sendFileSome(socket, file.get(), 0, 4) == 4);
    faults.on<&SysTable::sendfile>().shortenRandomly(1);
    const ssize_t part = sendFileSome(socket, file.get(), 0, 4);
    CHECK(part > 0 && part < 4);
  }
  REQUIRE(::shutdown(socket, SHUT_WR) == 0);
  CHECK(sendFileSome(socket, file.get(), 0, 4) == -EPIPE);
}

TEST("what is no socket has no queue") {
  CHECK(unreadBytes(-1) == -EBADF);
  CHECK(unsentBytes(-1) == -EBADF);
  const auto connection = connectLoopback();
  REQUIRE(connection);
  CHECK(unreadBytes(connection->server.get()) == 0);
  CHECK(sendSome(connection->client.get(), bytesOf("12345")) == 5);
  REQUIRE(ready(connection->server.get(), POLLIN));
  CHECK(unreadBytes(connection->server.get()) == 5);
}

// --- Options before bind and connect ---

std::span<const std::byte> bytesAt(const int& number) {
  return std::as_bytes(std::span(&number, 1));
}

int optionOf(int fd, int level, int number) {
  int value = -1;
  const auto size =
      getSocketOption(fd, level, number, std::as_writable_bytes(std::span(&value, 1)));
  return size ? value : -1;
}

TEST("presets are set on listeners and on what connects") {
  const int bytes = 40'000;
  const int hops = 7;
  const std::array presets{PresetOption{"SO_RCVBUF", SOL_SOCKET, SO_RCVBUF, bytesAt(bytes)},
                           PresetOption{"IP_TTL", IPPROTO_IP, IP_TTL, bytesAt(hops)}};
  const auto listener = listenSocket(*Address::inet("127.0.0.1", 0), {.presets = presets});
  REQUIRE(listener);
  const auto address = localAddress(listener->get());
  const auto client = connectSocket(*address, presets);
  const auto bound = connectSocket(*address, *Address::inet("127.0.0.1", 0), presets);
  REQUIRE(client && bound);
  for (const int fd : {listener->get(), client->get(), bound->get()}) {
    CHECK(optionOf(fd, SOL_SOCKET, SO_RCVBUF) >= bytes);
    CHECK(optionOf(fd, IPPROTO_IP, IP_TTL) == hops);
  }
}

TEST("a preset that is refused is named, and the socket is closed") {
  const int value = 1;
  const std::array presets{PresetOption{"NONESUCH", SOL_SOCKET, 0x7fff, bytesAt(value)}};
  const auto refused = listenSocket(*Address::inet("127.0.0.1", 0), {.presets = presets});
  REQUIRE(!refused);
  CHECK(refused.error().code == ENOPROTOOPT && refused.error().call == presets[0].name);
  CHECK(connectSocket(*Address::inet("127.0.0.1", 1), presets).error().call == presets[0].name);
}

TEST("presets of IPv6 are left out on a socket of IPv4") {
  const int hops = 7;
  const std::array presets{
      PresetOption{"IPV6_UNICAST_HOPS", IPPROTO_IPV6, IPV6_UNICAST_HOPS, bytesAt(hops)}};
  CHECK(listenSocket(*Address::inet("127.0.0.1", 0), {.presets = presets}));
  const auto listener = listenSocket(*Address::inet("::1", 0), {.presets = presets});
  REQUIRE(listener);
  CHECK(optionOf(listener->get(), IPPROTO_IPV6, IPV6_UNICAST_HOPS) == hops);
}

}  // namespace
}  // namespace ioloop
