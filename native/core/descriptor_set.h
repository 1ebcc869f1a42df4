#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace ioloop {

/**
 * A set of descriptor numbers: one bit each, in pages that are made when a number first falls into
 * them. The kernel gives the lowest free number, so there are few.
 */
class DescriptorSet {
 public:
  /** Takes `fd` in; negative numbers are no descriptors. */
  void insert(int fd) {
    const std::size_t page = pageOf(fd);
    if (page >= pages_.size()) pages_.resize(page + 1);
    if (!pages_[page]) pages_[page] = std::make_unique<Page>();
    (*pages_[page])[wordOf(fd)] |= bitOf(fd);
  }

  /** Whether `fd` was in the set; it is not any more. */
  bool erase(int fd) noexcept {
    if (!contains(fd)) return false;
    (*pages_[pageOf(fd)])[wordOf(fd)] &= ~bitOf(fd);
    return true;
  }

  bool contains(int fd) const noexcept {
    return fd >= 0 && pageOf(fd) < pages_.size() && pages_[pageOf(fd)] != nullptr &&
           ((*pages_[pageOf(fd)])[wordOf(fd)] & bitOf(fd)) != 0;
  }

  /** Calls `visit(fd)` for each number, lowest first. */
  template <typename Visit>
  void forEach(Visit visit) const {
    for (std::size_t page = 0; page < pages_.size(); ++page) {
      if (!pages_[page]) continue;
      for (std::size_t word = 0; word < kWords; ++word)
        for (std::uint64_t bits = (*pages_[page])[word]; bits != 0; bits &= bits - 1)
          visit(static_cast<int>((page * kWords + word) * kBits) + std::countr_zero(bits));
    }
  }

 private:
  static constexpr std::size_t kBits = 64;
  static constexpr std::size_t kWords = 64;
  using Page = std::array<std::uint64_t, kWords>;

  static constexpr std::size_t pageOf(int fd) noexcept {
    return static_cast<std::size_t>(fd) / (kBits * kWords);
  }
  static constexpr std::size_t wordOf(int fd) noexcept {
    return static_cast<std::size_t>(fd) / kBits % kWords;
  }
  static constexpr std::uint64_t bitOf(int fd) noexcept {
    return std::uint64_t{1} << (static_cast<std::size_t>(fd) % kBits);
  }

  std::vector<std::unique_ptr<Page>> pages_;
};

}  // namespace ioloop
