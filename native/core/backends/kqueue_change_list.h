#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdint>
#include <span>

#include "core/event.h"
#include "core/result.h"
#include "core/sys.h"

namespace ioloop::kqueue {

using KernelEvent = struct ::kevent;

/** What one filter watches for. The kernel keeps one registration per descriptor and filter. */
struct Filter {
  Ready interest;
  decltype(KernelEvent::filter) number;
  decltype(KernelEvent::fflags) notes;
};

inline constexpr auto kFilters = std::to_array<Filter>({
    {Ready::read, EVFILT_READ, 0},
    {Ready::write, EVFILT_WRITE, 0},
#if defined(EVFILT_EXCEPT) && defined(NOTE_OOB)  // macOS, OpenBSD and DragonFly; FreeBSD has none
    {Ready::priority, EVFILT_EXCEPT, NOTE_OOB},
#endif
});

/**
 * Changes of one descriptor's filters that are made together: all of them or none.
 *
 * The kernel itself goes on after a change that it refuses (https://man.freebsd.org/kqueue,
 * EV_RECEIPT), so each change comes with the one that takes it back.
 */
class ChangeList {
 public:
  ChangeList(int fd, std::uint32_t serial) noexcept : fd_(fd), serial_(serial) {}

  /** Appends `flags` for `filter`; `inverse` takes them back, 0 where nothing need be. */
  void push(const Filter& filter, int flags, int inverse = 0) noexcept {
    changes_[count_] = make(filter, flags);
    inverses_[count_] = make(filter, inverse);
    mustUndo_[count_++] = inverse != 0;
  }

  /** Makes the changes; the first refusal, after those that were made have been taken back. */
  Status apply(int set) noexcept {
    const std::span receipts = std::span(changes_).first(count_);
    if (!submit(set, receipts)) return lastError("kevent");
    const auto refused = std::ranges::find_if(receipts, isRefusal);
    if (refused == receipts.end()) return {};
    std::array<KernelEvent, kLimit> undo;
    std::size_t undone = 0;
    for (std::size_t index = count_; index-- > 0;)
      if (!isRefusal(receipts[index]) && mustUndo_[index]) undo[undone++] = inverses_[index];
    if (undone > 0) submit(set, std::span(undo).first(undone));
    return SysError{static_cast<int>(refused->data), "kevent"};
  }

 private:
  static constexpr std::size_t kLimit = 2 * kFilters.size();  // a filter is removed and added anew

  KernelEvent make(const Filter& filter, int flags) const noexcept {
    KernelEvent change{};
    change.ident = static_cast<decltype(change.ident)>(fd_);
    change.filter = filter.number;
    change.flags = static_cast<decltype(change.flags)>(flags | EV_RECEIPT);
    change.fflags = filter.notes;
    change.udata = std::bit_cast<decltype(change.udata)>(std::uintptr_t{serial_});
    return change;
  }

  static bool isRefusal(const KernelEvent& receipt) noexcept { return receipt.data != 0; }

  // The answer to each change takes its place in the list, and no event is fetched.
  static bool submit(int set, std::span<KernelEvent> list) noexcept {
    const int count = static_cast<int>(list.size());
    return sys().kevent(set, list.data(), count, list.data(), count, nullptr) >= 0;
  }

  int fd_;
  std::uint32_t serial_;
  std::size_t count_ = 0;
  std::array<KernelEvent, kLimit> changes_;
  std::array<KernelEvent, kLimit> inverses_;
  std::array<bool, kLimit> mustUndo_;
};

}  // namespace ioloop::kqueue
