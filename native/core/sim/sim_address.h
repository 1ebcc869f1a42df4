#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace ioloop {

/** A socket address of any family, by value. */
struct SimAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

/** What a system call was given; what is too long is cut. */
SimAddress toAddress(const sockaddr* address, socklen_t size) noexcept;
/** As getsockname(2): cut to the room there is, the full size told. */
void giveAddress(const SimAddress& from, sockaddr* address, socklen_t* size) noexcept;

/** The loopback address of `family`, port 0; in the Unix domain the unnamed one. */
SimAddress loopback(int family) noexcept;
/** For IPv4 and IPv6. */
void setPort(SimAddress& address, std::uint16_t port) noexcept;
/** What an address is bound under: its port or its path, "" for port 0 and the unnamed. */
std::string nameOf(const SimAddress& address);
/** What is bound to `path` is bound under. */
std::string nameOfPath(std::string_view path);

}  // namespace ioloop
