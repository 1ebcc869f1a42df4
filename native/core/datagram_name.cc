#include "core/datagram_name.h"

#include <arpa/inet.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <string_view>

namespace ioloop {
namespace {

std::int32_t toWord(std::uint32_t inOrderOfTheNetwork) noexcept {
  return static_cast<std::int32_t>(ntohl(inOrderOfTheNetwork));
}

void readLocalName(const sockaddr_un& local, socklen_t size, DatagramRow& row,
                   std::span<std::byte> room) noexcept {
  sockaddr_storage storage;
  std::memcpy(&storage, &local, std::min<std::size_t>(size, sizeof local));
  const auto address = Address::fromSockaddr(storage, size);
  const std::string_view path = address ? address->path() : std::string_view();
  if (path.empty() || path.size() > room.size()) return;
  row.family = DatagramRow::kUnix;
  row.port = static_cast<std::int32_t>(path.size());
  std::memcpy(room.data(), path.data(), path.size());
}

}  // namespace

DatagramRow::Words toWords(const in_addr& address) noexcept {
  return {toWord(address.s_addr), 0, 0, 0};
}

DatagramRow::Words toWords(const in6_addr& address) noexcept {
  const auto words = std::bit_cast<std::array<std::uint32_t, 4>>(address);
  return {toWord(words[0]), toWord(words[1]), toWord(words[2]), toWord(words[3])};
}

in_addr toInet4(std::int32_t word) noexcept {
  return {.s_addr = htonl(static_cast<std::uint32_t>(word))};
}

in6_addr toInet6(const DatagramRow::Words& words) noexcept {
  std::array<std::uint32_t, 4> inOrderOfTheNetwork{};
  std::ranges::transform(words, inOrderOfTheNetwork.begin(),
                         [](std::int32_t word) { return toInet4(word).s_addr; });
  return std::bit_cast<in6_addr>(inOrderOfTheNetwork);
}

void readName(const DatagramName& name, socklen_t size, DatagramRow& row,
              std::span<std::byte> room) noexcept {
  const int family = size < sizeof name.any.sa_family ? AF_UNSPEC : name.any.sa_family;
  row.scope = 0;
  if (family == AF_INET) {
    row.family = DatagramRow::kInet4;
    row.port = ntohs(name.inet4.sin_port);
    row.address = toWords(name.inet4.sin_addr);
  } else if (family == AF_INET6) {
    row.family = DatagramRow::kInet6;
    row.port = ntohs(name.inet6.sin6_port);
    row.scope = static_cast<std::int32_t>(name.inet6.sin6_scope_id);
    row.address = toWords(name.inet6.sin6_addr);
  } else {
    row.family = DatagramRow::kNobody;
    row.port = 0;
    row.address = {};
    if (family == AF_UNIX) readLocalName(name.local, size, row, room);
  }
}

void readName(const Address& address, DatagramRow& row) noexcept {
  DatagramName name;
  std::memcpy(&name, address.data(), std::min<std::size_t>(address.size(), sizeof name));
  readName(name, address.size(), row, {});
}

Result<socklen_t> writeName(const DatagramRow& row, std::span<const std::byte> local,
                            DatagramName& name) noexcept {
  switch (row.family) {
    case DatagramRow::kNobody:
      return socklen_t{0};
    case DatagramRow::kUnix: {
      const auto address =
          Address::local({reinterpret_cast<const char*>(local.data()), local.size()});
      if (!address) return address.error();
      std::memcpy(&name.local, address->data(), address->size());
      return address->size();
    }
    case DatagramRow::kInet4:
      name.inet4 = sockaddr_in{};
      name.inet4.sin_family = AF_INET;
      name.inet4.sin_port = htons(static_cast<std::uint16_t>(row.port));
      name.inet4.sin_addr = toInet4(row.address[0]);
      return socklen_t{sizeof name.inet4};
    case DatagramRow::kInet6:
      name.inet6 = sockaddr_in6{};
      name.inet6.sin6_family = AF_INET6;
      name.inet6.sin6_port = htons(static_cast<std::uint16_t>(row.port));
      name.inet6.sin6_scope_id = static_cast<std::uint32_t>(row.scope);
      name.inet6.sin6_addr = toInet6(row.address);
      return socklen_t{sizeof name.inet6};
    default:
      return SysError{EINVAL, "sendmsg"};
  }
}

}  // namespace ioloop
