#include "server_end.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include "test/check.h"

using ioloop::UniqueFd;
using ioloop::bench::ServerEnd;

namespace {

/** A connection over loopback. */
struct Pair {
  UniqueFd client{::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
  UniqueFd server;

  Pair() {
    const UniqueFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* name = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    REQUIRE(::bind(listener.get(), name, size) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    REQUIRE(::getsockname(listener.get(), name, &size) == 0);
    REQUIRE(::connect(client.get(), name, size) == 0);
    server = UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
    REQUIRE(server.get() >= 0);
  }
};

}  // namespace

TEST("the server's end has read a byte once the server has, not when it arrived") {
  const Pair pair;
  const auto end = ServerEnd::of(pair.client.get());
  REQUIRE(end.has_value());
  CHECK(end->hasRead(0) == true);
  std::array<char, 2> bytes{};
  REQUIRE(::send(pair.client.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == 2);
  CHECK(end->hasRead(2) == false);
  REQUIRE(::recv(pair.server.get(), bytes.data(), 1, 0) == 1);
  CHECK(end->hasRead(2) == false);
  REQUIRE(::recv(pair.server.get(), bytes.data(), 1, 0) == 1);
  CHECK(end->hasRead(2) == true);
  CHECK(end->hasRead(3) == false);
}

TEST("the server's end that was reset is gone") {
  Pair pair;
  const auto end = ServerEnd::of(pair.client.get());
  REQUIRE(end.has_value());
  constexpr linger kReset{.l_onoff = 1, .l_linger = 0};
  REQUIRE(::setsockopt(pair.server.get(), SOL_SOCKET, SO_LINGER, &kReset, sizeof kReset) == 0);
  pair.server = UniqueFd();
  CHECK(!end->hasRead(0).has_value());
}

TEST("a socket that is not connected has no server's end") {
  const UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(!ServerEnd::of(fd.get()).has_value());
}
