#include "core/address.h"

#include <arpa/inet.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

namespace ioloop {
namespace {

constexpr std::size_t kPathOffset = offsetof(sockaddr_un, sun_path);
constexpr std::size_t kPathCapacity = sizeof(sockaddr_un::sun_path);

#if defined(__linux__)
constexpr bool kHasAbstractNames = true;
#else
constexpr bool kHasAbstractNames = false;
#endif

/** `text` with a NUL behind it, for C; empty when it is too long or has a NUL inside. */
template <std::size_t size>
std::array<char, size> terminated(std::string_view text) noexcept {
  std::array<char, size> copy{};
  if (text.size() < size && text.find('\0') == std::string_view::npos) {
    std::ranges::copy(text, copy.begin());
  }
  return copy;
}

/** The scope that a zone names, by number or by interface. */
Result<std::uint32_t> scopeOf(std::string_view zone) noexcept {
  if (zone.empty()) return SysError{EINVAL, "inet_pton"};
  std::uint32_t scope = 0;
  const char* const end = zone.data() + zone.size();
  const auto [stop, failure] = std::from_chars(zone.data(), end, scope);
  if (failure == std::errc{} && stop == end) return scope;
  scope = sys().ifNameToIndex(terminated<IF_NAMESIZE>(zone).data());
  if (scope == 0) return lastError("if_nametoindex");
  return scope;
}

}  // namespace

std::string interfaceName(std::uint32_t index) {
  std::array<char, IF_NAMESIZE> name{};
  if (sys().ifIndexToName(index, name.data()) != nullptr) return name.data();
  return std::to_string(index);
}

Result<Address> Address::inet(std::string_view literal, std::uint16_t port) noexcept {
  Address address;
  const std::size_t percent = literal.find('%');
  const auto text = terminated<INET6_ADDRSTRLEN>(literal.substr(0, percent));
  if (literal.find(':') == std::string_view::npos) {
    if (percent != std::string_view::npos ||
        ::inet_pton(AF_INET, text.data(), &address.inet4_.sin_addr) != 1) {
      return SysError{EINVAL, "inet_pton"};
    }
    address.inet4_.sin_family = AF_INET;
    address.inet4_.sin_port = htons(port);
    address.size_ = sizeof(sockaddr_in);
    return address;
  }
  if (::inet_pton(AF_INET6, text.data(), &address.inet6_.sin6_addr) != 1) {
    return SysError{EINVAL, "inet_pton"};
  }
  if (percent != std::string_view::npos) {
    const auto scope = scopeOf(literal.substr(percent + 1));
    if (!scope) return scope.error();
    address.inet6_.sin6_scope_id = *scope;
  }
  address.inet6_.sin6_family = AF_INET6;
  address.inet6_.sin6_port = htons(port);
  address.size_ = sizeof(sockaddr_in6);
  return address;
}

Result<Address> Address::local(std::string_view name) noexcept {
  const bool abstract = name.starts_with('\0');
  if (abstract && !kHasAbstractNames) return SysError{EINVAL, "bind"};
  if (!abstract && name.find('\0') != std::string_view::npos) return SysError{EINVAL, "bind"};
  // A path ends in a NUL, which counts; an abstract name ends where its length says.
  const std::size_t used = abstract || name.empty() ? name.size() : name.size() + 1;
  if (used > kPathCapacity) return SysError{ENAMETOOLONG, "bind"};
  Address address;
  address.local_.sun_family = AF_UNIX;
  std::ranges::copy(name, std::begin(address.local_.sun_path));
  address.size_ = static_cast<socklen_t>(kPathOffset + used);
  return address;
}

Result<Address> Address::fromSockaddr(const sockaddr_storage& storage, socklen_t size) noexcept {
  Address address;
  address.storage_ = storage;
  address.size_ = std::min(size, static_cast<socklen_t>(sizeof storage));
  switch (address.any_.sa_family) {
    case AF_INET:
      if (size >= sizeof(sockaddr_in)) return address;
      break;
    case AF_INET6:
      if (size >= sizeof(sockaddr_in6)) return address;
      break;
    case AF_UNIX:
      return address;
    default:
      // macOS answers an unnamed Unix socket with no family at all.
      if (size <= kPathOffset) return local({});
  }
  return SysError{EAFNOSUPPORT, "getsockname"};
}

Address::Family Address::family() const noexcept {
  switch (any_.sa_family) {
    case AF_INET:
      return Family::inet4;
    case AF_INET6:
      return Family::inet6;
    default:
      return Family::local;
  }
}

std::string Address::host() const {
  std::array<char, INET6_ADDRSTRLEN> text{};
  switch (family()) {
    case Family::inet4:
      ::inet_ntop(AF_INET, &inet4_.sin_addr, text.data(), text.size());
      return text.data();
    case Family::inet6:
      ::inet_ntop(AF_INET6, &inet6_.sin6_addr, text.data(), text.size());
      if (inet6_.sin6_scope_id == 0) return text.data();
      return text.data() + ('%' + interfaceName(inet6_.sin6_scope_id));
    case Family::local:
      return {};
  }
  return {};
}

std::uint16_t Address::port() const noexcept {
  switch (family()) {
    case Family::inet4:
      return ntohs(inet4_.sin_port);
    case Family::inet6:
      return ntohs(inet6_.sin6_port);
    case Family::local:
      return 0;
  }
  return 0;
}

std::string_view Address::path() const noexcept {
  if (family() != Family::local || size_ <= kPathOffset) return {};
  const std::size_t room = std::min<std::size_t>(size_ - kPathOffset, kPathCapacity);
  const std::string_view name(static_cast<const char*>(local_.sun_path), room);
  if (kHasAbstractNames && name.front() == '\0') return name;
  // Linux counts the NUL, the BSDs may not, and a path that fills sun_path has none (unix(7),
  // Bugs).
  return name.substr(0, name.find('\0'));
}

std::string Address::toString() const {
  switch (family()) {
    case Family::inet4:
      return host() + ':' + std::to_string(port());
    case Family::inet6:
      return '[' + host() + "]:" + std::to_string(port());
    case Family::local: {
      std::string name(path());
      if (name.starts_with('\0')) std::ranges::replace(name, '\0', '@');
      return name;
    }
  }
  return {};
}

}  // namespace ioloop
