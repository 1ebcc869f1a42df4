#include "target.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string>

namespace ioloop::bench {

std::optional<Target> Target::parse(std::string_view text) noexcept {
  if (text.starts_with('/') || text.starts_with('.') || text.starts_with('@'))
    return parseUnix(text);
  return parseInet(text);
}

std::optional<Target> Target::parseUnix(std::string_view path) noexcept {
  sockaddr_un address{};
  if (path.size() >= sizeof address.sun_path) return std::nullopt;
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  const bool isAbstract = path.front() == '@';
  if (isAbstract) address.sun_path[0] = '\0';
  Target target;
  std::memcpy(&target.address_, &address, sizeof address);
  // An abstract name is as long as the address says, a path ends at its zero (unix(7)).
  target.size_ =
      static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + (isAbstract ? 0 : 1));
  return target;
}

std::optional<Target> Target::parseInet(std::string_view text) noexcept {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view digits = text.substr(colon + 1);
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc{} || end != digits.data() + digits.size() || port == 0)
    return std::nullopt;

  std::string host(text.substr(0, colon));
  Target target;
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    sockaddr_in6 address{};
    address.sin6_family = AF_INET6;
    address.sin6_port = htons(port);
    if (inet_pton(AF_INET6, host.c_str(), &address.sin6_addr) != 1) return std::nullopt;
    std::memcpy(&target.address_, &address, sizeof address);
    target.size_ = sizeof address;
    return target;
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  if (inet_pton(AF_INET, host.c_str(), &address.sin_addr) != 1) return std::nullopt;
  std::memcpy(&target.address_, &address, sizeof address);
  target.size_ = sizeof address;
  return target;
}

Result<UniqueFd> Target::open(std::size_t index, int flags) const noexcept {
  UniqueFd fd(::socket(address_.ss_family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  if (!fd) return lastError("socket");
  if (address_.ss_family != AF_UNIX) {
    constexpr int kOn = 1;
    if (::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn) < 0)
      return lastError("setsockopt");
    if (const Status status = bindSource(fd.get(), index); !status) return status.error();
  }
  sockaddr_storage address = address_;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size_) < 0 &&
      errno != EINPROGRESS)
    return lastError("connect");
  return fd;
}

Result<UniqueFd> Target::connectMessages(int type) const noexcept {
  UniqueFd fd(::socket(address_.ss_family, type | SOCK_CLOEXEC, 0));
  if (!fd) return lastError("socket");
  // A family without a name has the kernel choose one: unix(7), autobind.
  const sa_family_t unnamed = AF_UNIX;
  if (address_.ss_family == AF_UNIX && type == SOCK_DGRAM &&
      ::bind(fd.get(), reinterpret_cast<const sockaddr*>(&unnamed), sizeof unnamed) < 0)
    return lastError("bind");
  sockaddr_storage address = address_;
  if (::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), size_) < 0)
    return lastError("connect");
  return fd;
}

Status Target::bindSource(int fd, std::size_t index) const noexcept {
  sockaddr_in server{};
  std::memcpy(&server, &address_, sizeof server);
  constexpr std::uint32_t kLoopbackNet = 127;
  if (address_.ss_family != AF_INET || ntohl(server.sin_addr.s_addr) >> 24 != kLoopbackNet)
    return {};
  // The port is chosen at connect, per destination: ip(7), IP_BIND_ADDRESS_NO_PORT.
  constexpr int kOn = 1;
  if (::setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &kOn, sizeof kOn) < 0)
    return lastError("setsockopt");
  constexpr std::size_t kSources = 250;
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + static_cast<std::uint32_t>(index % kSources));
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&source), sizeof source) < 0)
    return lastError("bind");
  return {};
}

}  // namespace ioloop::bench
