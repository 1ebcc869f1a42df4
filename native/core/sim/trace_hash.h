#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>

namespace ioloop {

/** What happened, folded into 64 bits byte by byte (FNV-1a), so that byte order does not matter. */
class TraceHash {
 public:
  constexpr void fold(std::initializer_list<std::uint64_t> words) noexcept {
    for (const std::uint64_t word : words)
      for (int shift = 0; shift < 64; shift += 8)
        foldByte(static_cast<std::uint8_t>(word >> shift));
  }
  constexpr void fold(std::span<const std::byte> bytes) noexcept {
    for (const std::byte byte : bytes) foldByte(static_cast<std::uint8_t>(byte));
  }
  constexpr std::uint64_t value() const noexcept { return value_; }

 private:
  constexpr void foldByte(std::uint8_t byte) noexcept {
    value_ = (value_ ^ byte) * 0x00000100000001b3;
  }

  std::uint64_t value_ = 0xcbf29ce484222325;
};

}  // namespace ioloop
