#include "core/passed_fds.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <vector>

#include "core/unique_fd.h"
#include "test/check.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

struct alignas(cmsghdr) Control : std::array<std::byte, kPassedFdsSpace> {};

struct Pair {
  UniqueFd left;
  UniqueFd right;
};

Pair connectedPair() {
  int fds[2] = {-1, -1};
  ::socketpair(AF_UNIX, SOCK_STREAM, 0, fds);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

/** How many of the first 2,048 numbers are open. */
int openDescriptors() {
  int open = 0;
  for (int fd = 0; fd < 2048; ++fd) open += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return open;
}

bool sendWith(int socket, std::span<const int> fds) {
  Control control;
  char byte = 'x';
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_controllen = static_cast<decltype(message.msg_controllen)>(putRights(control, fds));
  if (message.msg_controllen > 0) message.msg_control = control.data();
  return ::sendmsg(socket, &message, 0) == 1;
}

struct Received {
  std::size_t taken = 0;
  int flags = 0;
};

/** Receives one byte, and what came along into `target`, with control space for `space` bytes. */
Received receiveWith(int socket, std::span<int> target, std::size_t space = kPassedFdsSpace) {
  Control control;
  char byte = 0;
  iovec part{&byte, 1};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = static_cast<decltype(message.msg_controllen)>(space);
  CHECK(::recvmsg(socket, &message, kReceiveCloseOnExec) == 1);
  Received received{.flags = message.msg_flags};
  for (cmsghdr* one = CMSG_FIRSTHDR(&message); one != nullptr; one = CMSG_NXTHDR(&message, one))
    received.taken += takeRights(*one, target.subspan(received.taken));
  return received;
}

TEST("descriptors arrive as duplicates of their own, close-on-exec") {
  const Pair pair = connectedPair();
  Pair passed = connectedPair();
  REQUIRE(sendWith(pair.left.get(), std::array{passed.left.get(), passed.right.get()}));
  std::array<int, 4> fds{-1, -1, -1, -1};
  CHECK(receiveWith(pair.right.get(), fds).taken == 2);
  const UniqueFd left(fds[0]);
  const UniqueFd right(fds[1]);
  CHECK(fds[2] == -1);
  CHECK(isCloseOnExec(left.get()) && isCloseOnExec(right.get()));
  passed = connectedPair();
  CHECK(::send(left.get(), "in order", 8, 0) == 8);
  CHECK(receive(right.get()) == "in order");
}

TEST("a message takes 253, and no more: the most that the kernel lets through") {
  const Pair pair = connectedPair();
  const std::vector<int> many(kMaxPassedFds + 1, pair.left.get());
  Control control;
  CHECK(putRights(control, many) == 0);
  const int before = openDescriptors();
  REQUIRE(sendWith(pair.left.get(), std::span(many).first(kMaxPassedFds)));
  std::vector<int> fds(kMaxPassedFds, -1);
  CHECK(receiveWith(pair.right.get(), fds).taken == kMaxPassedFds);
  CHECK(openDescriptors() == before + static_cast<int>(kMaxPassedFds));
  for (const int fd : fds) ::close(fd);
}

TEST("what the target has no room for is closed") {
  const Pair pair = connectedPair();
  const std::vector<int> many(kMaxPassedFds, pair.left.get());
  const int before = openDescriptors();
  REQUIRE(sendWith(pair.left.get(), many));
  std::array<int, 3> fds{};
  CHECK(receiveWith(pair.right.get(), fds).taken == 3);
  CHECK(openDescriptors() == before + 3);
  for (const int fd : fds) ::close(fd);
  REQUIRE(sendWith(pair.left.get(), many));
  CHECK(receiveWith(pair.right.get(), {}).taken == 0);
  CHECK(openDescriptors() == before);
}

TEST("what the control space has no room for is not received, and the rest is taken") {
  const Pair pair = connectedPair();
  const std::vector<int> many(8, pair.left.get());
  const int before = openDescriptors();
  REQUIRE(sendWith(pair.left.get(), many));
  std::array<int, 8> fds{};
  const Received received = receiveWith(pair.right.get(), fds, CMSG_SPACE(2 * sizeof(int)));
  CHECK((received.flags & MSG_CTRUNC) != 0);
  CHECK(received.taken == 2);
  CHECK(openDescriptors() == before + 2);
  for (std::size_t place = 0; place < received.taken; ++place) ::close(fds[place]);
}

TEST("bytes and descriptors go by one call each, and plain bytes behind them are a receive apart") {
  const Pair pair = connectedPair();
  const Pair passed = connectedPair();
  const std::array fds{passed.left.get(), passed.right.get()};
  CHECK(sendWithFds(pair.left.get(), bytesOf("with"), fds) == 4);
  CHECK(sendWithFds(pair.left.get(), bytesOf("without"), {}) == 7);
  std::array<std::byte, 64> target{};
  std::array<int, 8> numbers{};
  PassedFds came;
  CHECK(recvWithFds(pair.right.get(), target, numbers, came) == 4);
  CHECK(came.count == 2 && !came.truncated);
  for (const int fd : std::span(numbers).first(came.count)) ::close(fd);
  came = {};
  CHECK(recvWithFds(pair.right.get(), target, numbers, came) == 7);
  CHECK(came.count == 0 && !came.truncated);
}

TEST("the rest of bytes that were cut short comes without descriptors") {
  const Pair pair = connectedPair();
  const std::array fds{pair.left.get()};
  REQUIRE(sendWithFds(pair.left.get(), bytesOf("four"), fds) == 4);
  std::array<std::byte, 1> target{};
  std::array<int, 8> numbers{};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    PassedFds came;
    CHECK(recvWithFds(pair.right.get(), target, numbers, came) == 1);
    CHECK(came.count == (byte == 0 ? 1 : 0));
    for (const int fd : std::span(numbers).first(came.count)) ::close(fd);
  }
}

TEST("a full descriptor table is told, and nothing of what did fit is lost sight of") {
  const Pair pair = connectedPair();
  const std::vector<int> many(16, pair.left.get());
  REQUIRE(sendWithFds(pair.left.get(), bytesOf("x"), many) == 1);
  const int before = openDescriptors();
  rlimit previous{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &previous) == 0);
  const UniqueFd highest(::dup(pair.left.get()));
  const auto room = static_cast<rlim_t>(highest.get()) + 4;
  const rlimit tight{room, previous.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &tight) == 0);
  std::array<std::byte, 1> target{};
  std::array<int, 16> numbers{};
  PassedFds came;
  CHECK(recvWithFds(pair.right.get(), target, numbers, came) == 1);
  CHECK(::setrlimit(RLIMIT_NOFILE, &previous) == 0);
  CHECK(came.truncated && came.count == 3);
  for (const int fd : std::span(numbers).first(came.count)) ::close(fd);
  CHECK(openDescriptors() == before + 1);
}

TEST("what has failed is -errno") {
  std::array<std::byte, 1> target{};
  PassedFds came;
  CHECK(recvWithFds(-1, target, {}, came) == -EBADF);
  CHECK(sendWithFds(-1, target, {}) == -EBADF);
  const Pair pair = connectedPair();
  CHECK(sendWithFds(pair.left.get(), target, std::array{-1}) == -EBADF);
  CHECK(duplicateFd(-1).error().code == EBADF);
}

TEST("a duplicate is another number for the same file, close-on-exec") {
  const Pair pair = connectedPair();
  const auto duplicate = duplicateFd(pair.left.get());
  REQUIRE(duplicate);
  CHECK(duplicate->get() != pair.left.get() && isCloseOnExec(duplicate->get()));
  CHECK(::send(duplicate->get(), "same", 4, 0) == 4);
  CHECK(receive(pair.right.get()) == "same");
}

TEST("no descriptors are no message") {
  Control control;
  CHECK(putRights(control, {}) == 0);
  const std::array one{0};
  CHECK(putRights(std::span(control).first(CMSG_LEN(sizeof(int)) - 1), one) == 0);
}

TEST("a control message of another kind is left alone") {
  Control control;
  const std::array one{0};
  REQUIRE(putRights(control, one) > 0);
  auto& message = *reinterpret_cast<cmsghdr*>(control.data());
  std::array<int, 1> fds{-1};
  message.cmsg_type = SCM_RIGHTS + 1;
  CHECK(takeRights(message, fds) == 0);
  message.cmsg_type = SCM_RIGHTS;
  message.cmsg_level = SOL_SOCKET + 1;
  CHECK(takeRights(message, fds) == 0);
  CHECK(fds[0] == -1 && ::fcntl(0, F_GETFD) >= 0);
}

TEST("the padding after them is zero: none of our memory leaves") {
  Control control;
  control.fill(std::byte{0xee});
  const std::array one{0};
  const std::size_t size = putRights(control, one);
  CHECK(size == CMSG_SPACE(sizeof(int)));
  const auto padding = std::span(control).first(size).subspan(CMSG_LEN(sizeof(int)));
  CHECK(std::ranges::all_of(padding, [](std::byte byte) { return byte == std::byte{0}; }));
}

}  // namespace
}  // namespace ioloop
