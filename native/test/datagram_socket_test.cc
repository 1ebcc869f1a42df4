#include "core/datagram_socket.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>

#include "core/socket.h"
#include "test/check.h"
#include "test/fault_injector.h"
#include "test/loopback.h"
#include "test/mailbox.h"

namespace ioloop {
namespace {

constexpr std::array kKinds{DatagramKind::udp4, DatagramKind::udp6, DatagramKind::local,
                            DatagramKind::seqpacket};

UniqueFd opened(DatagramKind kind) { return std::move(*openDatagram(kind)); }

/** A port of `host` where nobody is. */
Address deadEnd(const char* host) { return *localAddress(boundAt(host).get()); }

mode_t modeAt(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 ? status.st_mode & 0777 : 0;
}

// --- Making and adopting ---

TEST("sockets of every kind are non-blocking and close-on-exec, and adopted as what they are") {
  for (const DatagramKind kind : kKinds) {
    const auto fd = openDatagram(kind);
    REQUIRE(fd);
    CHECK(isNonBlocking(fd->get()) && isCloseOnExec(fd->get()));
    const auto adopted = adoptDatagram(fd->get());
    CHECK(adopted && *adopted == kind);
  }
  CHECK(openDatagramPair(DatagramKind::udp4).error().code == EOPNOTSUPP);
}

TEST("somebody else's socket is made as ours are") {
  std::array<int, 2> pair{-1, -1};
  REQUIRE(::socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair.data()) == 0);
  const UniqueFd left(pair[0]);
  const UniqueFd right(pair[1]);
  REQUIRE(adoptDatagram(left.get()));
  CHECK(isNonBlocking(left.get()) && isCloseOnExec(left.get()));
  REQUIRE(::send(right.get(), "", 0, 0) == 0);
  Inbox in(1);
  CHECK(in.receive(left.get()) == 1 && in.row(0).flags == DatagramRow::kCredentials);
}

TEST("what has no message borders, or listens, is not adopted") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  CHECK(adoptDatagram(connection->client.get()).error().code == EINVAL);
  CHECK(adoptDatagram(-1).error().code == EBADF);
  std::array<int, 2> pipe{-1, -1};
  REQUIRE(::pipe(pipe.data()) == 0);
  const UniqueFd reading(pipe[0]);
  const UniqueFd writing(pipe[1]);
  CHECK(adoptDatagram(reading.get()).error().code == ENOTSOCK);
  ScratchDirectory directory;
  REQUIRE(directory);
  const auto listener = listenSeqpacket(*Address::local(directory.file("s")), 8, {});
  REQUIRE(listener);
  CHECK(adoptDatagram(listener->get()).error().code == EINVAL);
}

TEST("an option that this kernel is too old for is done without, any other failure is told") {
  FaultInjector faults(1);
  faults.on<&SysTable::setsockopt>().failCall(2, ENOPROTOOPT);
  CHECK(openDatagram(DatagramKind::udp6));
  faults.on<&SysTable::setsockopt>().failCall(1, ENOMEM);
  CHECK(openDatagram(DatagramKind::udp6).error().code == ENOMEM);
  faults.on<&SysTable::socketpair>().failCall(1, EMFILE);
  CHECK(openDatagramPair(DatagramKind::local).error().code == EMFILE);
}

// --- Binding and connecting ---

TEST("a path has its mode, narrow or wide, and never more before") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const mode_t mask = ::umask(022);
  for (const mode_t mode : {0600U, 0666U, 0700U}) {
    const std::string path = directory.file(std::to_string(mode));
    const UniqueFd fd = opened(DatagramKind::local);
    {
      FaultInjector faults(1);  // what stands there before chmod(2)
      faults.on<&SysTable::unlink>().failCall(1, EIO);
      faults.on<&SysTable::chmod>().failCall(1, EPERM);
      CHECK(bindDatagram(fd.get(), *Address::local(path), mode).error().code == EPERM);
      CHECK((modeAt(path) & ~mode) == 0 && ::unlink(path.c_str()) == 0);
    }
    CHECK(bindDatagram(opened(DatagramKind::local).get(), *Address::local(path), mode));
    CHECK(modeAt(path) == mode);
  }
  const std::string path = directory.file("plain");
  CHECK(bindDatagram(opened(DatagramKind::local).get(), *Address::local(path), {}));
  CHECK(modeAt(path) == 0755);
  CHECK(bindDatagram(opened(DatagramKind::local).get(), *Address::local(path), 0600).error().code ==
        EADDRINUSE);
  CHECK(modeAt(path) == 0755);
  ::umask(mask);
}

TEST("a connected socket hears its peer alone, until it is disconnected") {
  for (const char* host : {"127.0.0.1", "0.0.0.0", "::1", "::"}) {
    const UniqueFd server = boundAt(host);
    const UniqueFd stranger = boundAt(host);
    const UniqueFd client = boundAt(host);
    const Address home = *localAddress(client.get());
    REQUIRE(connectDatagram(client.get(), *localAddress(server.get())));
    Outbox out;
    out.add("strange", home);
    REQUIRE(out.send(stranger.get()) == 1);
    Inbox in(1);
    CHECK(in.receive(client.get()) == -EAGAIN);
    Outbox reply;
    reply.add("to whom it is connected to");
    CHECK(reply.send(client.get()) == 1 && in.receive(server.get()) == 1);
    REQUIRE(disconnectDatagram(client.get()));
    CHECK(localAddress(client.get())->toString() == home.toString());
    CHECK(reply.send(client.get()) == -EDESTADDRREQ);
    CHECK(out.send(stranger.get()) == 1 && in.receive(client.get()) == 1);
  }
}

TEST("a seqpacket client connects at a path, and nobody there is an error") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.file("socket");
  const Address address = *Address::local(path);
  const UniqueFd client = opened(DatagramKind::seqpacket);
  CHECK(connectDatagram(client.get(), address).error().code == ENOENT);
  {
    const auto listener = listenSeqpacket(address, 1, 0600);
    REQUIRE(listener);
    CHECK(modeAt(path) == 0600);
    REQUIRE(connectDatagram(client.get(), address));
    const auto server = acceptSocket(listener->get());
    REQUIRE(server && adoptDatagram(server->get()));
    Outbox out;
    out.add("over");
    CHECK(out.send(client.get()) == 1);
    Inbox in(1);
    CHECK(in.receive(server->get()) == 1 && in.text(0) == "over");
  }
  const UniqueFd late = opened(DatagramKind::seqpacket);
  CHECK(connectDatagram(late.get(), address).error().code == ECONNREFUSED);
}

TEST("a path where nobody could listen is not left behind") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.file("socket");
  FaultInjector faults(1);
  faults.on<&SysTable::listen>().failCall(1, EIO);
  CHECK(listenSeqpacket(*Address::local(path), 1, {}).error().code == EIO);
  CHECK(modeAt(path) == 0);
}

// --- Errors ---

#if defined(__linux__)
TEST("icmp's answer is told with whom the datagram went to, and fails no other") {
  for (const char* host : {"127.0.0.1", "::1"}) {
    const UniqueFd receiver = boundAt(host);
    const UniqueFd from = boundAt(host);
    const Address nobody = deadEnd(host);
    Outbox out;
    out.add("lost", nobody);
    out.add("found", *localAddress(receiver.get()));
    REQUIRE(out.send(from.get()) >= 1);
    REQUIRE(ready(from.get(), POLLERR));
    CHECK(out.send(from.get(), 1) == 1);
    DatagramRow row;
    REQUIRE(receiveError(from.get(), row) == 1);
    CHECK(row.size == ECONNREFUSED && row.port == nobody.port());
    CHECK(row.address.back() == (row.family == DatagramRow::kInet6 ? 1 : 0));
    while (receiveError(from.get(), row) == 1) CHECK(row.size == ECONNREFUSED);
    Inbox in(4);
    CHECK(in.receive(receiver.get()) >= 1 && in.text(0) == "found");
    CHECK(in.receive(from.get()) == -EAGAIN);
  }
}

TEST("what a send has answered itself is not told again") {
  const UniqueFd from = boundAt("127.0.0.1");
  Outbox out;
  out.add(std::string(65'508, 'x'), deadEnd("127.0.0.1"));
  CHECK(out.send(from.get()) == -EMSGSIZE);
  REQUIRE(ready(from.get(), POLLERR));  // the queue has it as well
  DatagramRow row;
  CHECK(receiveError(from.get(), row) == 0 && row.size == 0);
}
#endif

TEST("an error without a queue is told from SO_ERROR, and none is no error") {
  const UniqueFd quiet = boundAt("127.0.0.1");
  DatagramRow row;
  CHECK(receiveError(quiet.get(), row) == 0);
  CHECK(receiveError(-1, row) == -EBADF);
  auto pair = pairOf(DatagramKind::seqpacket);
  Outbox out;
  out.add("never read");
  REQUIRE(out.send(pair[0].get()) == 1);
  pair[1] = UniqueFd();
  CHECK(receiveError(pair[0].get(), row) == 1 && row.size == ECONNRESET);
  CHECK(receiveError(pair[0].get(), row) == 0);
}

TEST("asking a unix socket for errors takes none of its messages") {
  for (const DatagramKind kind : {DatagramKind::local, DatagramKind::seqpacket}) {
    const auto pair = pairOf(kind);
    Outbox out;
    out.add("still there");
    REQUIRE(out.send(pair[0].get()) == 1);
    DatagramRow row;
    CHECK(receiveError(pair[1].get(), row) == 0);
    Inbox in(1);
    CHECK(in.receive(pair[1].get()) == 1 && in.text(0) == "still there");
  }
}

TEST("a unix peer that left is refused first, and then nobody") {
  auto pair = pairOf(DatagramKind::local);
  pair[1] = UniqueFd();
  Outbox out;
  out.add("to whom?");
  CHECK(out.send(pair[0].get()) == -ECONNREFUSED);
  CHECK(out.send(pair[0].get()) == -ENOTCONN);
}

// --- What sockets and kernel tell ---

TEST("what the kernel dropped is counted") {
  const UniqueFd receiver = boundAt("127.0.0.1");
  const int least = 1;
  REQUIRE(::setsockopt(receiver.get(), SOL_SOCKET, SO_RCVBUF, &least, sizeof least) == 0);
  CHECK(droppedByKernel(receiver.get()) == 0);
  Outbox out;
  for (int number = 0; number < 60; ++number)
    out.add(std::string(1000, 'x'), *localAddress(receiver.get()));
  REQUIRE(out.send(opened(DatagramKind::udp4).get()) == 60);
  Inbox in(64);
  const ssize_t kept = in.receive(receiver.get());
  REQUIRE(kept > 0 && kept < 60);
  if (datagramCapabilities()->dropCounts) {
    CHECK(droppedByKernel(receiver.get()) == static_cast<std::uint32_t>(60 - kept));
  }
  CHECK(droppedByKernel(-1) == 0);
}

TEST("a pair of the unix domain tells who made it, a socket without a peer that it has none") {
  const auto pair = pairOf(DatagramKind::seqpacket);
  const auto peer = peerCredentials(pair[0].get());
  REQUIRE(peer);
  CHECK(peer->uid == ::getuid() && peer->gid == ::getgid());
  CHECK(peer->pid == ::getpid() || peer->pid == -1);
  CHECK(peerCredentials(opened(DatagramKind::seqpacket).get()).error().code == ENOTCONN);
  CHECK(peerCredentials(-1).error().code == EBADF);
}

TEST("what the kernel can do is found out by trying, and not remembered when nothing could be") {
  const auto found = datagramCapabilities();
  REQUIRE(found);
#if defined(__linux__)
  CHECK(found->batches && found->abstractNames && found->seqpacket && found->credentials);
#endif
  FaultInjector faults(1);
  faults.on<&SysTable::recvmmsg>().failCall(1, ENOSYS);
  const auto without = datagramCapabilities();
  CHECK(without && !without->batches);
  faults.on<&SysTable::socket>().failCall(1, EMFILE);
  CHECK(datagramCapabilities().error().code == EMFILE);
}

}  // namespace
}  // namespace ioloop
