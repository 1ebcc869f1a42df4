#include "core/address.h"

#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <string>
#include <string_view>

#include "test/check.h"

namespace ioloop {
namespace {

constexpr socklen_t kPathOffset = offsetof(sockaddr_un, sun_path);

/** The address that the kernel would hand back for `address`. */
Result<Address> roundTrip(const Address& address) {
  sockaddr_storage storage{};
  const auto* bytes = reinterpret_cast<const std::byte*>(address.data());
  std::copy_n(bytes, address.size(), reinterpret_cast<std::byte*>(&storage));
  return Address::fromSockaddr(storage, address.size());
}

int failureOf(const Result<Address>& result) { return result ? 0 : result.error().code; }

TEST("an IPv4 literal keeps its address and port") {
  const auto address = Address::inet("127.0.0.1", 8080);
  REQUIRE(address);
  CHECK(address->family() == Address::Family::inet4);
  CHECK(address->host() == "127.0.0.1");
  CHECK(address->port() == 8080);
  CHECK(address->size() == sizeof(sockaddr_in));
  CHECK(address->data()->sa_family == AF_INET);
  CHECK(address->toString() == "127.0.0.1:8080");
  CHECK(address->path().empty());
}

TEST("an IPv6 literal is written in its short form, in brackets before a port") {
  const auto address = Address::inet("2001:0db8:0:0:0:0:0:1", 65535);
  REQUIRE(address);
  CHECK(address->family() == Address::Family::inet6);
  CHECK(address->host() == "2001:db8::1");
  CHECK(address->size() == sizeof(sockaddr_in6));
  CHECK(address->toString() == "[2001:db8::1]:65535");
}

TEST("an IPv4 address mapped into IPv6 stays IPv6") {
  const auto address = Address::inet("::ffff:192.0.2.1", 1);
  REQUIRE(address);
  CHECK(address->family() == Address::Family::inet6);
  CHECK(address->host() == "::ffff:192.0.2.1");
}

TEST("a scope is an interface's name or its number") {
  // Every system has a first interface; what it is called differs (lo, lo0).
  std::array<char, IF_NAMESIZE> name{};
  REQUIRE(::if_indextoname(1, name.data()) != nullptr);
  const std::string literal = std::string("fe80::1%") + name.data();
  for (const std::string& text : {literal, std::string("fe80::1%1")}) {
    const auto address = Address::inet(text, 9);
    REQUIRE(address);
    CHECK(reinterpret_cast<const sockaddr_in6*>(address->data())->sin6_scope_id == 1);
    CHECK(address->host() == literal);
    CHECK(address->toString() == '[' + literal + "]:9");
  }
}

TEST("a scope whose interface is gone is written as its number") {
  const auto address = Address::inet("fe80::1%4000000", 9);
  REQUIRE(address);
  CHECK(address->host() == "fe80::1%4000000");
}

TEST("what is no IP literal is EINVAL") {
  using namespace std::string_view_literals;
  for (const std::string_view literal :
       {""sv, "localhost"sv, "127.0.0"sv, "127.0.0.256"sv, "127.0.0.1 "sv, "127.0.0.1\0"sv,
        "127.0.0.1%1"sv, ":"sv, ":::"sv, "[::1]"sv, "::1\0"sv, "fe80::1%"sv, "12345::"sv,
        "0000:0000:0000:0000:0000:0000:0000:0000:0000:0000"sv}) {
    CHECK(failureOf(Address::inet(literal, 1)) == EINVAL);
  }
}

TEST("a scope that no interface has is refused") {
  CHECK(failureOf(Address::inet("fe80::1%no-such-if", 1)) != 0);
  CHECK(failureOf(Address::inet("fe80::1%a-name-longer-than-any-interface", 1)) != 0);
  CHECK(failureOf(Address::inet("fe80::1%99999999999", 1)) != 0);
}

TEST("a path counts its NUL") {
  const auto address = Address::local("/run/x");
  REQUIRE(address);
  CHECK(address->family() == Address::Family::local);
  CHECK(address->path() == "/run/x");
  CHECK(address->size() == kPathOffset + 7);
  CHECK(address->toString() == "/run/x");
  CHECK(address->host().empty());
  CHECK(address->port() == 0);
}

TEST("a path may fill sun_path but for its NUL, and no more") {
  const std::string longest(sizeof(sockaddr_un::sun_path) - 1, 'x');
  const auto address = Address::local(longest);
  REQUIRE(address);
  CHECK(address->path() == longest);
  CHECK(failureOf(Address::local(longest + 'x')) == ENAMETOOLONG);
}

TEST("a path with a NUL inside is EINVAL") {
  CHECK(failureOf(Address::local(std::string_view("/run\0x", 6))) == EINVAL);
}

TEST("an unnamed socket has no name and no length for one") {
  const auto address = Address::local("");
  REQUIRE(address);
  CHECK(address->size() == kPathOffset);
  CHECK(address->path().empty());
  CHECK(address->toString().empty());
}

TEST("every kind of address survives its way through the kernel's form") {
  for (const auto& made : {Address::inet("192.0.2.7", 7), Address::inet("fe80::1%1", 7),
                           Address::local("/run/x"), Address::local("")}) {
    REQUIRE(made);
    const auto back = roundTrip(*made);
    REQUIRE(back);
    CHECK(back->family() == made->family());
    CHECK(back->size() == made->size());
    CHECK(back->toString() == made->toString());
  }
}

TEST("a path that the kernel hands back without a NUL ends where its length says") {
  sockaddr_storage storage{};
  auto& local = reinterpret_cast<sockaddr_un&>(storage);
  local.sun_family = AF_UNIX;
  std::fill(std::begin(local.sun_path), std::end(local.sun_path), 'x');
  const auto full = Address::fromSockaddr(storage, sizeof(sockaddr_un) + 1);
  REQUIRE(full);
  CHECK(full->path() == std::string(sizeof local.sun_path, 'x'));
  const auto cut = Address::fromSockaddr(storage, kPathOffset + 3);
  REQUIRE(cut);
  CHECK(cut->path() == "xxx");
}

TEST("a family that is none of ours is EAFNOSUPPORT") {
  sockaddr_storage storage{};
  storage.ss_family = AF_APPLETALK;
  CHECK(failureOf(Address::fromSockaddr(storage, sizeof storage)) == EAFNOSUPPORT);
  storage.ss_family = AF_INET6;
  CHECK(failureOf(Address::fromSockaddr(storage, sizeof(sockaddr_in))) == EAFNOSUPPORT);
}

#if defined(__linux__)
TEST("an abstract name counts no NUL but may hold some") {
  const std::string_view name("\0a\0b", 4);
  const auto address = Address::local(name);
  REQUIRE(address);
  CHECK(address->size() == kPathOffset + 4);
  CHECK(address->path() == name);
  CHECK(address->toString() == "@a@b");
  const auto back = roundTrip(*address);
  REQUIRE(back);
  CHECK(back->path() == name);
}

TEST("an abstract name may fill sun_path, and no more") {
  const std::string longest = '\0' + std::string(sizeof(sockaddr_un::sun_path) - 1, 'x');
  const auto address = Address::local(longest);
  REQUIRE(address);
  CHECK(address->path() == longest);
  CHECK(failureOf(Address::local(longest + 'x')) == ENAMETOOLONG);
}
#else
TEST("an abstract name is refused where there are none") {
  CHECK(failureOf(Address::local(std::string_view("\0a", 2))) == EINVAL);
}
#endif

}  // namespace
}  // namespace ioloop
