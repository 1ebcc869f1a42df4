#include "core/datagram.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "core/datagram_socket.h"
#include "core/socket.h"
#include "test/check.h"
#include "test/fault_injector.h"
#include "test/loopback.h"
#include "test/mailbox.h"

namespace ioloop {
namespace {

/** A socket at a free port of the loopback, and where that is. */
struct Bound {
  UniqueFd fd;
  Address address;
};
Bound bound(const char* host) {
  UniqueFd fd = boundAt(host);
  const auto address = localAddress(fd.get());
  return {std::move(fd), *address};
}

UniqueFd sender(DatagramKind kind) { return std::move(*openDatagram(kind)); }

/** The kernel without batches, for as long as it lives. */
class OneByOne {
 public:
  OneByOne() : table_(sys()), before_(sys()) {
    table_.recvmmsg = table_.sendmmsg = [](int, mmsghdr*, unsigned int, int) {
      errno = ENOSYS;
      return -1;
    };
    installSys(table_);
  }
  OneByOne(const OneByOne&) = delete;
  OneByOne& operator=(const OneByOne&) = delete;
  ~OneByOne() { installSys(before_); }

 private:
  SysTable table_;
  const SysTable& before_;
};

// --- Batches ---

void exchangeBatch(const char* host) {
  const Bound receiver = bound(host);
  const bool isInet6 = receiver.address.family() == Address::Family::inet6;
  const Bound from = bound(host);
  Outbox out;
  for (const char* text : {"one", "", "three"}) out.add(text, receiver.address);
  CHECK(out.send(from.fd.get()) == 3);
  Inbox in(8);
  REQUIRE(ready(receiver.fd.get(), POLLIN));
  REQUIRE(in.receive(receiver.fd.get()) == 3);
  CHECK(in.text(0) == "one" && in.text(1).empty() && in.text(2) == "three");
  for (const std::size_t place : {0U, 1U, 2U}) {
    const DatagramRow& row = in.row(place);
    CHECK(row.offset == static_cast<int>(place * Inbox::kSlotSize) && row.flags == 0);
    CHECK(row.family == (isInet6 ? DatagramRow::kInet6 : DatagramRow::kInet4));
    CHECK(row.port == from.address.port() && row.scope == 0);
    CHECK(row.address ==
          (isInet6 ? DatagramRow::Words{0, 0, 0, 1} : DatagramRow::Words{0x7f000001, 0, 0, 0}));
    CHECK(row.segment == 0 && row.fdCount == 0);
  }
  CHECK(in.receive(receiver.fd.get()) == -EAGAIN);
  CHECK(in.keptItsWalls());
}

TEST("a batch goes out and comes in, in order, with whom it is from") {
  for (const char* host : {"127.0.0.1", "::1"}) exchangeBatch(host);
}

TEST("a kernel without batches does the same, message by message") {
  const OneByOne kernel;
  for (const char* host : {"127.0.0.1", "::1"}) exchangeBatch(host);
}

TEST("a call takes as many as there is room for, 64 at most, and leaves the rest") {
  const Bound receiver = bound("127.0.0.1");
  const UniqueFd from = sender(DatagramKind::udp4);
  Outbox out;
  for (int number = 0; number < 100; ++number) out.add(std::to_string(number), receiver.address);
  CHECK(out.send(from.get()) == 64);
  CHECK(out.send(from.get(), 64) == 36);
  Inbox few(7);
  REQUIRE(few.receive(receiver.fd.get()) == 7);
  Inbox many(90);
  REQUIRE(many.receive(receiver.fd.get()) == 64);
  CHECK(few.text(6) == "6" && many.text(0) == "7" && many.text(63) == "70");
  CHECK(many.receive(receiver.fd.get()) == 29);
  CHECK(few.keptItsWalls() && many.keptItsWalls());
}

TEST("without room for one message nothing is received") {
  const Bound receiver = bound("127.0.0.1");
  Outbox out;
  out.add("x", receiver.address);
  REQUIRE(out.send(sender(DatagramKind::udp4).get()) == 1);
  Inbox none(0);
  CHECK(none.receive(receiver.fd.get()) == -EINVAL);
  Inbox gapsAlone(4, false, kSlotGap);
  CHECK(gapsAlone.receive(receiver.fd.get()) == -EINVAL);
  Inbox one(1, false, kSlotGap + 1);
  CHECK(one.receive(receiver.fd.get()) == 1 && one.text(0) == "x");
}

TEST("what is longer than its slot is cut, told, and written nowhere else") {
  const Bound receiver = bound("127.0.0.1");
  const std::size_t room = 512 - kSlotGap;
  Outbox out;
  out.add(std::string(room, 'a'), receiver.address);
  out.add(std::string(room + 1, 'b'), receiver.address);
  out.add(std::string(9000, 'c'), receiver.address);
  REQUIRE(out.send(sender(DatagramKind::udp4).get()) == 3);
  Inbox in(4, false, 512);
  REQUIRE(in.receive(receiver.fd.get()) == 3);
  CHECK(in.row(0).flags == 0 && in.text(0) == std::string(room, 'a'));
  CHECK(in.row(1).flags == DatagramRow::kTruncated && in.text(1) == std::string(room, 'b'));
  CHECK(in.row(2).flags == DatagramRow::kTruncated && in.text(2) == std::string(room, 'c'));
  CHECK(in.keptItsWalls());
}

// --- Names ---

TEST("names of the unix domain have their exact length, and who has none is nobody") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.file("receiver");
  const UniqueFd receiver = sender(DatagramKind::local);
  const auto address = Address::local(path);
  REQUIRE(bindDatagram(receiver.get(), *address, 0600));
  const std::string abstract("\0ioloop\0x\0", 10);
  const UniqueFd named = sender(DatagramKind::local);
  REQUIRE(bindDatagram(named.get(), *Address::local(abstract), {}));
  const UniqueFd atPath = sender(DatagramKind::local);
  const std::string senderPath = directory.file("s");
  REQUIRE(bindDatagram(atPath.get(), *Address::local(senderPath), {}));
  Outbox out;
  out.add("hello", *address);
  const UniqueFd unnamed = sender(DatagramKind::local);
  for (const int fd : {named.get(), atPath.get(), unnamed.get()}) CHECK(out.send(fd) == 1);
  Inbox in(4);
  REQUIRE(in.receive(receiver.get()) == 3);
  CHECK(in.row(0).family == DatagramRow::kUnix && in.name(0) == abstract);
  CHECK(in.row(1).family == DatagramRow::kUnix && in.name(1) == senderPath);
  CHECK(in.row(2).family == DatagramRow::kNobody && in.row(2).port == 0);
  CHECK(in.text(2) == "hello" && in.keptItsWalls());

  Outbox answer;
  answer.add("back", *Address::local(abstract));
  CHECK(answer.send(receiver.get()) == 1);
  CHECK(in.receive(named.get()) == 1 && in.name(0) == path);
}

TEST("an empty message of a seqpacket connection is not its end") {
  auto pair = pairOf(DatagramKind::seqpacket);
  Outbox out;
  out.add("");
  out.add("last");
  REQUIRE(out.send(pair[0].get()) == 2);
  pair[0] = UniqueFd();
  Inbox in(4);
  REQUIRE(in.receive(pair[1].get()) >= 2);
  CHECK(in.row(0).size == 0 && (in.row(0).flags & DatagramRow::kCredentials) != 0);
  CHECK(in.row(0).sender.pid == ::getpid() && in.row(0).sender.uid == static_cast<int>(::getuid()));
  CHECK(in.text(1) == "last");
  REQUIRE(in.receive(pair[1].get()) >= 1);
  CHECK(in.row(0).size == 0 && in.row(0).flags == 0 && in.row(0).family == DatagramRow::kNobody);
}

// --- What cannot be ---

TEST("a row that names what is not there sends nothing, and no row before it is lost") {
  const Bound receiver = bound("127.0.0.1");
  const UniqueFd from = sender(DatagramKind::udp4);
  const auto refused = [&](auto change) {
    Outbox out;
    out.add("good", receiver.address);
    change(out.add("bad", receiver.address));
    return out.send(from.get()) == 1 && out.send(from.get(), 1) == -EINVAL;
  };
  CHECK(refused([](DatagramRow& row) { row.offset = -1; }));
  CHECK(refused([](DatagramRow& row) { row.offset = 8; }));
  CHECK(refused([](DatagramRow& row) { row.size = 4; }));
  CHECK(refused([](DatagramRow& row) { row.size = -1; }));
  CHECK(refused([](DatagramRow& row) { row.offset = INT32_MAX; }));
  CHECK(refused([](DatagramRow& row) { row.family = 5; }));
  CHECK(refused([](DatagramRow& row) { row.fdCount = 1; }));
  CHECK(refused([](DatagramRow& row) { row.fdCount = -1; }));
  CHECK(refused([](DatagramRow& row) { row.firstFd = -1; }));
  CHECK(refused([](DatagramRow& row) { row.segment = -1; }));
  CHECK(refused([](DatagramRow& row) { row.segment = 65536; }));
  CHECK(refused([](DatagramRow& row) {
    row.family = DatagramRow::kNobody;  // an address to send from, of no family
    row.flags = DatagramRow::kLocal;
  }));
  Inbox in(64);
  CHECK(in.receive(receiver.fd.get()) == 12);
  CHECK(in.text(11) == "good");

  const auto pair = pairOf(DatagramKind::local);
  for (const std::int32_t nameSize : {-1, 1, INT32_MAX}) {  // a name from before all bytes
    Outbox out;
    DatagramRow& row = out.add("to nowhere");
    row.family = DatagramRow::kUnix;
    row.port = nameSize;
    CHECK(out.send(pair[0].get()) == -EINVAL);
  }
}

// --- Faults ---

constexpr std::size_t kManyMessages = 60;

/** Sends and receives numbers through the faults in force until all have come. */
void exchangeNumbers(const Bound& receiver) {
  const UniqueFd from = sender(DatagramKind::udp4);
  Outbox out;
  for (std::size_t number = 0; number < kManyMessages; ++number)
    out.add(std::to_string(number), receiver.address);
  const auto mayFail = [](ssize_t result) { return result == -EAGAIN || result == -ENOBUFS; };
  std::size_t sent = 0;
  std::size_t received = 0;
  Inbox in(kManyMessages);
  while (received < kManyMessages) {
    const ssize_t taken = sent < kManyMessages ? out.send(from.get(), sent) : 0;
    CHECK(taken >= 0 || mayFail(taken));
    if (taken > 0) sent += static_cast<std::size_t>(taken);
    const ssize_t came = in.receive(receiver.fd.get());
    CHECK(came > 0 || mayFail(came));
    for (ssize_t place = 0; place < came; ++place)
      CHECK(in.text(static_cast<std::size_t>(place)) == std::to_string(received++));
  }
  CHECK(sent == kManyMessages && in.keptItsWalls());
}

TEST("batches that are cut short, interrupted or refused lose and repeat nothing") {
  const Bound receiver = bound("127.0.0.1");
  FaultInjector faults(1);
  EntryFaults& sending = faults.on<&SysTable::sendmmsg>();
  EntryFaults& receiving = faults.on<&SysTable::recvmmsg>();
  for (EntryFaults* each : {&sending, &receiving}) {
    each->shortenRandomly(0.7);
    each->failRandomly(0.2, EINTR);
    each->failRandomly(0.2, EAGAIN);
    each->failRandomly(0.1, ENOBUFS);
  }
  for (int turn = 0; turn < 20; ++turn) exchangeNumbers(receiver);
  CHECK(sending.faults() > 20 && receiving.faults() > 20);
}

TEST("one by one, an error in the middle is told by the next call") {
  const OneByOne kernel;
  const Bound receiver = bound("127.0.0.1");
  const UniqueFd from = sender(DatagramKind::udp4);
  Outbox out;
  for (const char* text : {"a", "b", "c"}) out.add(text, receiver.address);
  FaultInjector faults(1);
  faults.on<&SysTable::sendmsg>().failCall(2, ENOBUFS);
  CHECK(out.send(from.get()) == 1);
  faults.on<&SysTable::sendmsg>().failCall(1, ENOBUFS);
  CHECK(out.send(from.get(), 1) == -ENOBUFS);
  faults.on<&SysTable::sendmsg>().failCall(1, EINTR);
  CHECK(out.send(from.get(), 1) == 2);
  faults.on<&SysTable::recvmsg>().failCall(3, EAGAIN);
  Inbox in(8);
  CHECK(in.receive(receiver.fd.get()) == 2);
  CHECK(in.receive(receiver.fd.get()) == 1 && in.text(0) == "c");
}

TEST("a socket that is full takes what has room, and a peer that left raises no signal") {
  const auto pair = pairOf(DatagramKind::seqpacket);
  Outbox out;
  const std::string large(50'000, 'x');
  for (int number = 0; number < 64; ++number) out.add(large);
  const ssize_t taken = out.send(pair[0].get());
  CHECK(taken > 0 && taken < 64);
  CHECK(out.send(pair[0].get(), static_cast<std::size_t>(taken)) == -EAGAIN);
  auto other = pairOf(DatagramKind::seqpacket);
  other[1] = UniqueFd();
  CHECK(out.send(other[0].get()) == -EPIPE);
}

TEST("what is too large for a datagram says so") {
  const Bound receiver = bound("127.0.0.1");
  Outbox out;
  out.add(std::string(65'508, 'x'), receiver.address);
  CHECK(out.send(sender(DatagramKind::udp4).get()) == -EMSGSIZE);
  CHECK(Inbox(1).receive(-1) == -EBADF);
}

}  // namespace
}  // namespace ioloop
