#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace ioloop::bench {

/**
 * An endless stream of pseudo-random bytes (SplitMix64), one per connection: bytes that come back
 * late, twice, damaged or on another connection are not the ones expected.
 */
class Pattern {
 public:
  explicit Pattern(std::uint64_t seed) noexcept : state_(seed * 0x9e3779b97f4a7c15U) {}

  /** Fills `out` with the next bytes. */
  void fill(std::span<std::byte> out) noexcept { fillMasked(out, ~std::uint64_t{0}, 0); }

  /** The same in printable ASCII, '0' to 'o': no byte is a line feed. */
  void fillText(std::span<std::byte> out) noexcept {
    fillMasked(out, 0x3f3f'3f3f'3f3f'3f3fU, 0x3030'3030'3030'3030U);
  }

 private:
  void fillMasked(std::span<std::byte> out, std::uint64_t mask, std::uint64_t offset) noexcept {
    while (!out.empty()) {
      const std::uint64_t word = (next() & mask) + offset;
      const std::size_t size = out.size() < sizeof word ? out.size() : sizeof word;
      std::memcpy(out.data(), &word, size);
      out = out.subspan(size);
    }
  }

  // Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014).
  std::uint64_t next() noexcept {
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15U;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31);
  }

  std::uint64_t state_;
};

}  // namespace ioloop::bench
