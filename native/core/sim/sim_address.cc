#include "core/sim/sim_address.h"

#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace ioloop {
namespace {

// sin_port and sin6_port have the same place, behind the family.
static_assert(offsetof(sockaddr_in, sin_port) == offsetof(sockaddr_in6, sin6_port));

std::uint16_t portOf(const SimAddress& address) noexcept {
  std::uint16_t port = 0;
  std::memcpy(&port,
              static_cast<const char*>(static_cast<const void*>(&address.storage)) +
                  offsetof(sockaddr_in, sin_port),
              sizeof port);
  return ntohs(port);
}

}  // namespace

SimAddress toAddress(const sockaddr* address, socklen_t size) noexcept {
  SimAddress copy;
  copy.size = std::min(size, static_cast<socklen_t>(sizeof copy.storage));
  std::memcpy(&copy.storage, address, copy.size);
  return copy;
}

void giveAddress(const SimAddress& from, sockaddr* address, socklen_t* size) noexcept {
  if (address == nullptr || size == nullptr) return;
  std::memcpy(address, &from.storage, std::min(*size, from.size));
  *size = from.size;
}

void setPort(SimAddress& address, std::uint16_t port) noexcept {
  const std::uint16_t wire = htons(port);
  std::memcpy(
      static_cast<char*>(static_cast<void*>(&address.storage)) + offsetof(sockaddr_in, sin_port),
      &wire, sizeof wire);
}

std::string nameOfPath(std::string_view path) { return std::string("path ").append(path); }

std::string nameOf(const SimAddress& address) {
  constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);
  if (address.storage.ss_family == AF_UNIX) {
    if (address.size <= kPathOffset) return {};
    const char* path = static_cast<const char*>(static_cast<const void*>(&address.storage));
    std::string name(path + kPathOffset, address.size - kPathOffset);
    // A path ends at its NUL if there is one; an abstract name begins with one (unix(7)).
    if (name.front() != '\0') name.resize(std::min(name.find('\0'), name.size()));
    return nameOfPath(name);
  }
  const std::uint16_t port = portOf(address);
  return port == 0 ? std::string() : "port " + std::to_string(port);
}

SimAddress loopback(int family) noexcept {
  SimAddress address;
  address.storage.ss_family = static_cast<sa_family_t>(family);
  if (family == AF_INET) {
    sockaddr_in inet{};
    inet.sin_family = AF_INET;
    inet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    std::memcpy(&address.storage, &inet, address.size = sizeof inet);
  } else if (family == AF_INET6) {
    sockaddr_in6 inet{};
    inet.sin6_family = AF_INET6;
    inet.sin6_addr = in6addr_loopback;
    std::memcpy(&address.storage, &inet, address.size = sizeof inet);
  } else {
    address.size = sizeof(sa_family_t);
  }
  return address;
}

}  // namespace ioloop
