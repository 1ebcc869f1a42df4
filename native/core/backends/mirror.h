#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/backend.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * What poll or select watches, kept twice: as rows for their own scan, and mirrored in a system set
 * (epoll or kqueue), which they lack: it is their pollableFd(), and the clock behind arm().
 *
 * Poll and select decide what is ready. Row 0 is the set itself, one more entry of each scan, so
 * that an armed deadline ends a wait; a scan that found nothing else asks consult().
 *
 * A file that the set refuses (EPERM: regular files and the like, epoll_ctl(2)) is ready at any
 * time for poll and select, so pollableFd() is readable as long as one is watched.
 */
class Mirror {
 public:
  struct Row {
    int fd;
    Ready interest;
  };
  /** The place of a descriptor that is not watched. */
  static constexpr std::size_t kUnknown = 0;

  static Result<Mirror> create() noexcept;

  int pollableFd() const noexcept { return set_->pollableFd(); }
  Status arm(std::optional<Instant> deadline) noexcept { return set_->arm(deadline); }

  /** Without holes; removing a row moves the last one into its place. */
  std::span<const Row> rows() const noexcept { return rows_; }
  /** The index of the row of `fd`, or kUnknown. */
  std::size_t placeOf(int fd) const noexcept;

  /**
   * Backend::update for poll and select, modes refused (ENOTSUP). A number is registered anew
   * (rule 7) when the set, which forgets closed files, takes it as new; where the set refuses the
   * file, when its device and inode are not those noted before.
   */
  Status update(int fd, Ready before, Ready after) noexcept;

  /**
   * Fills `out` with the rows for which `readyAt(place)` is not none, at most `ready` of them. Each
   * call starts behind the row served last, so that a short `out` starves nobody.
   */
  template <typename ReadyAt>
  std::size_t collect(std::span<Event> out, std::size_t ready, ReadyAt readyAt) noexcept {
    const std::size_t limit = std::min(out.size(), ready);
    std::size_t filled = 0;
    for (std::size_t left = rows_.size() - 1; left > 0 && filled < limit; --left, ++next_) {
      if (next_ >= rows_.size()) next_ = 1;
      const Ready found = readyAt(next_);
      if (found != Ready::none) out[filled++] = {rows_[next_].fd, found};
    }
    return filled;
  }

  /**
   * For a wait whose own scan found nothing: takes what the set has to say, so that a deadline
   * which has come is told once. Reports errors and hang-ups that the scan cannot see (select,
   * where only priority is watched), and one orphan for a set that claims what is not so.
   */
  Result<std::size_t> consult(std::span<Event> out) noexcept;

 private:
  using FileIdentity = std::pair<dev_t, ino_t>;

  explicit Mirror(std::unique_ptr<Backend> set) noexcept;

  Status add(int fd, Ready interest) noexcept;
  Status modify(Row& row, Ready interest) noexcept;
  void remove(std::size_t place) noexcept;
  Status noteRefused(int fd, Ready interest) noexcept;
  bool forgetRefused(int fd) noexcept;

  std::unique_ptr<Backend> set_;
  std::vector<Row> rows_;
  std::vector<std::uint32_t> places_;  // by descriptor number
  std::unordered_map<int, FileIdentity> refused_;
  UniqueFd beacon_;  // a pipe at its end, always readable; in the set while refused_ has entries
  std::size_t next_ = 1;
};

}  // namespace ioloop
