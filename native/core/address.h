#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/result.h"
#include "core/sys.h"

namespace ioloop {

/**
 * Where a socket is: an IPv4 or IPv6 address with its port, or a name in the Unix domain.
 *
 * It holds the address as the kernel takes it, with its exact length: in the Unix domain the length
 * is part of the name (unix(7)). A value: cheap to copy, always valid, never resolved by name.
 */
class Address {
 public:
  enum class Family : std::uint8_t { inet4, inet6, local };

  /**
   * An IP literal and a port: "127.0.0.1", "::1", "fe80::1%eth0", "fe80::1%2". EINVAL when it is
   * none, the failure of if_nametoindex(3) when there is no such interface.
   */
  static Result<Address> inet(std::string_view literal, std::uint16_t port) noexcept;

  /**
   * A name in the Unix domain: a path, "" for unnamed, or, on Linux, NUL and an abstract name.
   * ENAMETOOLONG when it does not fit, EINVAL for a path with a NUL in it.
   */
  static Result<Address> local(std::string_view name) noexcept;

  /** What a system call left behind. EAFNOSUPPORT when it is of another family. */
  static Result<Address> fromSockaddr(const sockaddr_storage& storage, socklen_t size) noexcept;

  Family family() const noexcept;
  /** The IP literal, with its scope if it has one; empty in the Unix domain. */
  std::string host() const;
  /** 0 in the Unix domain. */
  std::uint16_t port() const noexcept;
  /** The name as local() takes it, NULs included; empty outside the Unix domain. */
  std::string_view path() const noexcept;
  /** For people: "127.0.0.1:80", "[::1]:80", "/run/x", "@abstract", "" for unnamed. */
  std::string toString() const;

  /** The address as bind(2) and connect(2) take it; a borrow. */
  const sockaddr* data() const noexcept { return &any_; }
  socklen_t size() const noexcept { return size_; }

 private:
  Address() noexcept : storage_{} {}

  // The one place where C's own polymorphism of addresses is spelled out.
  union {
    sockaddr any_;
    sockaddr_in inet4_;
    sockaddr_in6 inet6_;
    sockaddr_un local_;
    sockaddr_storage storage_;
  };
  socklen_t size_ = 0;
};

/** The name of a network interface, its number when it has none (if_indextoname(3)). */
std::string interfaceName(std::uint32_t index);

}  // namespace ioloop
