#include "test/loopback.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <utility>

#include "core/socket.h"

namespace ioloop {

constexpr int kLimitMs = 5000;

Result<UniqueFd> listenLoopback(const char* host) { return listenSocket(*Address::inet(host, 0)); }

Result<Connection> connectTo(int listener) {
  const auto address = localAddress(listener);
  if (!address) return address.error();
  auto client = connectSocket(*address);
  if (!client) return client.error();
  if (!ready(listener, POLLIN)) return SysError{ETIMEDOUT, "accept"};
  auto server = acceptSocket(listener);
  if (!server) return server.error();
  if (!ready(client->get(), POLLOUT)) return SysError{ETIMEDOUT, "connect"};
  return Connection{std::move(*client), std::move(*server)};
}

Result<Connection> connectLoopback(const char* host) {
  const auto listener = listenLoopback(host);
  if (!listener) return listener.error();
  return connectTo(listener->get());
}

bool ready(int fd, short events) {
  pollfd entry{fd, events, 0};
  return ::poll(&entry, 1, kLimitMs) == 1;
}

std::string receive(int fd) {
  std::array<char, 64> buffer{};
  if (!ready(fd, POLLIN)) return "nothing came";
  const ssize_t size = recvSome(fd, std::as_writable_bytes(std::span(buffer)));
  if (size < 0) return "error " + std::to_string(-size);
  return {buffer.data(), static_cast<std::size_t>(size)};
}

bool isNonBlocking(int fd) { return (::fcntl(fd, F_GETFL) & O_NONBLOCK) != 0; }
bool isCloseOnExec(int fd) { return (::fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0; }

ScratchDirectory::ScratchDirectory() { made_ = ::mkdtemp(path_.data()) != nullptr; }

ScratchDirectory::~ScratchDirectory() {
  for (const std::string& file : files_) ::unlink(file.c_str());
  ::rmdir(path_.data());
}

std::string ScratchDirectory::file(const std::string& name) {
  return files_.emplace_back(std::string(path_.data()) + '/' + name);
}

std::string ScratchDirectory::write(const std::string& name, const std::string& content) {
  std::string path = file(name);
  std::ofstream(path) << content;
  return path;
}

}  // namespace ioloop
