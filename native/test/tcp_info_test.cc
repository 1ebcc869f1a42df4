#include "core/tcp_info.h"

#include <cerrno>
#include <map>
#include <string>

#include "core/socket.h"
#include "core/sys.h"
#include "test/check.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

#if defined(__linux__)

std::map<std::string, std::uint64_t> numbersOf(int fd) {
  std::map<std::string, std::uint64_t> numbers;
  const auto fields = tcpInfo(fd);
  CHECK(fields);
  if (fields)
    for (const TcpInfoField& field : *fields) numbers[field.name] = field.value;
  return numbers;
}

TEST("bytes sent and received stand where the kernel counts them") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  CHECK(sendSome(connection->client.get(), bytesOf("twelve bytes")) == 12);
  CHECK(receive(connection->server.get()) == "twelve bytes");
  auto client = numbersOf(connection->client.get());
  auto server = numbersOf(connection->server.get());
  CHECK(client["state"] == 1);                                     // TCP_ESTABLISHED
  CHECK(client["bytesAcked"] == 13 && client["bytesSent"] == 12);  // the SYN counts as one
  CHECK(server["bytesReceived"] == 12);
  CHECK(client["dataSegmentsOut"] == 1 && server["dataSegmentsIn"] == 1);
  CHECK(client["sendCwnd"] > 0 && client["rttUs"] > 0 && client["pathMtu"] > 0);
}

int olderKernel(int fd, int level, int name, void* value, socklen_t* size) {
  *size = 16;
  return kKernel.getsockopt(fd, level, name, value, size);
}

TEST("an older kernel tells less, and nothing is made up") {
  const auto connection = connectLoopback();
  REQUIRE(connection);
  SysTable table = kKernel;
  table.getsockopt = olderKernel;
  installSys(table);
  auto numbers = numbersOf(connection->client.get());
  installSys(kKernel);
  CHECK(numbers.contains("state") && numbers.contains("atoUs"));
  CHECK(!numbers.contains("sendMss") && !numbers.contains("bytesAcked"));
}

TEST("what is no TCP socket has none") {
  CHECK(tcpInfo(-1).error().code == EBADF);
  CHECK(tcpInfo(0).error().code == ENOTSOCK || tcpInfo(0).error().code == EBADF);
}

#else

TEST("there is none on this system") { CHECK(tcpInfo(0).error().code == ENOTSUP); }

#endif

}  // namespace
}  // namespace ioloop
