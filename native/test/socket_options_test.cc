#include "core/socket_options.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <string>

#include "test/check.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

TEST("options go by the names of their man pages, and come from this system's headers") {
  const SocketOption* noDelay = findSocketOption("TCP_NODELAY");
  REQUIRE(noDelay != nullptr);
  CHECK(noDelay->level == IPPROTO_TCP && noDelay->number == TCP_NODELAY);
  CHECK(noDelay->kind == SocketOption::Kind::integer);
  const SocketOption* lingering = findSocketOption("SO_LINGER");
  REQUIRE(lingering != nullptr);
  CHECK(lingering->number == SO_LINGER && lingering->kind == SocketOption::Kind::linger);
  CHECK(findSocketOption("TCP_KEEPIDLE") != nullptr);
  for (const char* name : {"", "SO_", "so_rcvbuf", "SO_RCVBUF "})
    CHECK(findSocketOption(name) == nullptr);
}

TEST("what is set is read back") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  const int fd = connection->client.get();
  const int on = 1;
  CHECK(setSocketOption(fd, IPPROTO_TCP, TCP_NODELAY, std::as_bytes(std::span(&on, 1))));
  int value = 0;
  const auto size =
      getSocketOption(fd, IPPROTO_TCP, TCP_NODELAY, std::as_writable_bytes(std::span(&value, 1)));
  CHECK(size && *size == sizeof value);
  CHECK(value != 0);
}

#if defined(TCP_CONGESTION)
TEST("a string is as long as the answer says") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  std::array<char, 64> name{};
  const auto size = getSocketOption(connection->client.get(), IPPROTO_TCP, TCP_CONGESTION,
                                    std::as_writable_bytes(std::span(name)));
  REQUIRE(size);
  CHECK(*size > 0 && std::string(name.data()).size() <= *size);
}
#endif

TEST("what the kernel refuses is an error, and a descriptor that is none EBADF") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  std::array<std::byte, 4> value{};
  CHECK(setSocketOption(connection->client.get(), SOL_SOCKET, 99999, value).error().code ==
        ENOPROTOOPT);
  CHECK(getSocketOption(-1, SOL_SOCKET, SO_RCVBUF, value).error().code == EBADF);
}

}  // namespace
}  // namespace ioloop
