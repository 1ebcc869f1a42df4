#include "core/passed_fds.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
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
  Pair pair = connectedPair();
  Pair passed = connectedPair();
  REQUIRE(sendWith(pair.left.get(), std::array{passed.left.get(), passed.right.get()}));
  std::array<int, 4> fds{-1, -1, -1, -1};
  CHECK(receiveWith(pair.right.get(), fds).taken == 2);
  UniqueFd left(fds[0]);
  UniqueFd right(fds[1]);
  CHECK(fds[2] == -1);
  CHECK(isCloseOnExec(left.get()) && isCloseOnExec(right.get()));
  passed = connectedPair();
  CHECK(::send(left.get(), "in order", 8, 0) == 8);
  CHECK(receive(right.get()) == "in order");
}

TEST("a message takes 253, and no more: the most that the kernel lets through") {
  Pair pair = connectedPair();
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
  Pair pair = connectedPair();
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
  Pair pair = connectedPair();
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
