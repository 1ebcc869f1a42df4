#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace ioloop {

/**
 * splitmix64 (https://prng.di.unimi.it/splitmix64.c): one seed gives one sequence on every machine,
 * which the distributions of <random> do not promise.
 */
class SeededRandom {
 public:
  constexpr explicit SeededRandom(std::uint64_t seed = 0) noexcept : state_(seed) {}

  constexpr std::uint64_t next() noexcept {
    std::uint64_t mixed = state_ += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }

  /** Less than `bound`, which is not 0. */
  constexpr std::uint64_t below(std::uint64_t bound) noexcept { return next() % bound; }

  /** True with `probability`; 0 and 1 are exact, and 0 draws nothing. */
  constexpr bool chance(double probability) noexcept {
    constexpr double kUnit = 0x1p-53;
    return probability > 0 && static_cast<double>(next() >> 11) * kUnit < probability;
  }

  /** Puts `items` into a random order (Fisher and Yates). */
  template <typename T>
  constexpr void shuffle(std::span<T> items) noexcept {
    for (std::size_t left = items.size(); left > 1; --left)
      std::swap(items[left - 1], items[static_cast<std::size_t>(below(left))]);
  }

 private:
  std::uint64_t state_;
};

}  // namespace ioloop
