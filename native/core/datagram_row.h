#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ioloop {

/**
 * What is to be known of one message, as C++ and TypeScript share it: src/native-datagrams.ts says
 * what each word means, and has the same list.
 *
 * Addresses are words of four bytes each, the first of them in the highest bits; IPv4 has all in
 * the first.
 */
struct DatagramRow {
  using Words = std::array<std::int32_t, 4>;
  /** Of a datagram of the Internet. */
  struct Info {
    std::int32_t ecn;
    std::int32_t ttl;
    std::array<std::int32_t, 2> timestamp;
  };
  /** Of a message in the Unix domain. */
  struct Sender {
    std::int32_t pid;
    std::int32_t uid;
    std::int32_t gid;
  };

  std::int32_t offset;
  std::int32_t size;
  std::int32_t flags;
  std::int32_t family;
  std::int32_t port;
  std::int32_t scope;
  Words address;
  std::int32_t localScope;
  Words localAddress;
  std::int32_t segment;
  union {
    Info info;
    Sender sender;
  };
  std::int32_t firstFd;
  std::int32_t fdCount;

  // Bits of `flags`.
  static constexpr std::int32_t kTruncated = 1;
  static constexpr std::int32_t kControlTruncated = 2;
  static constexpr std::int32_t kLocal = 4;
  static constexpr std::int32_t kInfo = 8;
  static constexpr std::int32_t kCredentials = 16;

  // Values of `family`.
  static constexpr std::int32_t kNobody = 0;
  static constexpr std::int32_t kUnix = 1;
  static constexpr std::int32_t kInet4 = 4;
  static constexpr std::int32_t kInet6 = 6;
};
static_assert(sizeof(DatagramRow) == 22 * sizeof(std::int32_t));

/** The longest name in the Unix domain: sun_path of unix(7). The BSDs have four bytes less. */
inline constexpr std::size_t kNameSize = 108;

}  // namespace ioloop
