// Descriptors that come along with messages.

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <vector>

#include "core/datagram.h"
#include "core/datagram_socket.h"
#include "test/check.h"
#include "test/loopback.h"
#include "test/mailbox.h"

namespace ioloop {
namespace {

/** How many of the first 2,048 numbers are open. */
int openDescriptors() {
  int open = 0;
  for (int fd = 0; fd < 2048; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

TEST("descriptors come with their message, close-on-exec, and leave none behind") {
  const int before = openDescriptors();
  {
    const auto pair = pairOf(DatagramKind::seqpacket);
    Outbox out;
    out.add("none");
    out.attach(out.add("two"), std::array{pair[0].get(), pair[1].get()});
    out.attach(out.add("one"), std::array{pair[0].get()});
    REQUIRE(out.send(pair[0].get()) == 3);
    Inbox in(3, true);
    REQUIRE(in.receive(pair[1].get()) == 3);
    CHECK(in.row(0).fdCount == 0);
    CHECK(in.row(1).firstFd == 0 && in.row(1).fdCount == 2);
    CHECK(in.row(2).firstFd == 2 && in.row(2).fdCount == 1);
    for (const std::size_t place : {0U, 1U, 2U}) {
      const UniqueFd received(in.fd(place));
      CHECK(isCloseOnExec(received.get()));
    }
  }
  CHECK(openDescriptors() == before);
}

TEST("253 descriptors fit in a message, in each of a batch, and a batch that is full goes on") {
  const int before = openDescriptors();
  {
    const auto pair = pairOf(DatagramKind::local);
    Outbox out;
    for (int message = 0; message < 4; ++message)
      out.attach(out.add("many"), std::vector<int>(kMaxPassedFds, pair[0].get()));
    CHECK(out.send(pair[0].get()) == 4);
    Inbox in(4, true);
    REQUIRE(in.receive(pair[1].get()) == 4);
    for (std::size_t place = 0; place < 4 * kMaxPassedFds; ++place) {
      CHECK(::close(in.fd(place)) == 0);
    }
    CHECK(in.row(3).fdCount == kMaxPassedFds && in.row(3).flags == 0);
    out.attach(out.add("too many"), std::vector<int>(kMaxPassedFds + 1, pair[0].get()));
    CHECK(out.send(pair[0].get(), 4) == -EINVAL);
  }
  CHECK(openDescriptors() == before);
}

TEST("descriptors that nobody asked for are closed, and that is told") {
  const int before = openDescriptors();
  {
    const auto pair = pairOf(DatagramKind::local);
    Outbox out;
    out.attach(out.add("few"), std::vector<int>(3, pair[0].get()));
    out.attach(out.add("many"), std::vector<int>(kMaxPassedFds, pair[0].get()));
    REQUIRE(out.send(pair[0].get()) == 2);
    Inbox in(2);
    REQUIRE(in.receive(pair[1].get()) == 2);
    for (const std::size_t place : {0U, 1U})
      CHECK(in.row(place).fdCount == 0 &&
            (in.row(place).flags & DatagramRow::kControlTruncated) != 0);
    CHECK(openDescriptors() == before + 2);
  }
  CHECK(openDescriptors() == before);
}

TEST("descriptors that a full table has no room for are told of, and the others are taken") {
  const int before = openDescriptors();
  {
    const auto pair = pairOf(DatagramKind::local);
    Outbox out;
    out.attach(out.add("five"), std::vector<int>(5, pair[0].get()));
    REQUIRE(out.send(pair[0].get()) == 1);
    rlimit whole{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &whole) == 0);
    const int free = ::dup(pair[0].get());
    REQUIRE(::close(free) == 0);
    const rlimit tight{.rlim_cur = static_cast<rlim_t>(free) + 2, .rlim_max = whole.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
    Inbox in(1, true);
    const ssize_t received = in.receive(pair[1].get());
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &whole) == 0);
    REQUIRE(received == 1);
    CHECK(in.row(0).fdCount == 2 && in.row(0).flags == DatagramRow::kControlTruncated);
    for (const std::size_t place : {0U, 1U}) CHECK(::close(in.fd(place)) == 0);
  }
  CHECK(openDescriptors() == before);
}

}  // namespace
}  // namespace ioloop
