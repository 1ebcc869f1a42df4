#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/datagram.h"
#include "core/datagram_name.h"
#include "core/datagram_socket.h"
#include "core/passed_fds.h"
#include "test/check.h"

namespace ioloop {

/** A UDP socket at a free port of `host`. */
inline UniqueFd boundAt(const char* host) {
  const Address address = *Address::inet(host, 0);
  const bool isInet6 = address.family() == Address::Family::inet6;
  UniqueFd fd = std::move(*openDatagram(isInet6 ? DatagramKind::udp6 : DatagramKind::udp4));
  CHECK(bindDatagram(fd.get(), address, {}));
  return fd;
}

/** Two sockets of the Unix domain that are connected to each other. */
inline std::array<UniqueFd, 2> pairOf(DatagramKind kind) {
  return std::move(*openDatagramPair(kind));
}

/** Where messages are received, as TypeScript keeps it, with walls on both sides of each memory. */
class Inbox {
 public:
  static constexpr std::size_t kSlotSize = 2048;

  /** Room for so many messages; with descriptors when `takesFds`. */
  explicit Inbox(std::size_t capacity, bool takesFds = false, std::size_t slotSize = kSlotSize)
      : slotSize_(slotSize),
        slab_((capacity * slotSize) + (2 * kWall), kBrick),
        names_((capacity * kNameSize) + (2 * kWall), kBrick),
        rows_(capacity + 2, untouched()),
        fds_(takesFds ? capacity * kMaxPassedFds : 0, -1) {}

  ssize_t receive(int fd) {
    return receiveDatagrams(fd, {.slab = inside(slab_),
                                 .slotSize = slotSize_,
                                 .rows = std::span(rows_).subspan(1, rows_.size() - 2),
                                 .names = inside(names_),
                                 .fds = fds_});
  }

  const DatagramRow& row(std::size_t place) const { return rows_[place + 1]; }
  std::string text(std::size_t place) const {
    return textAt(slab_, static_cast<std::size_t>(row(place).offset),
                  static_cast<std::size_t>(row(place).size));
  }
  /** The name of a sender in the Unix domain. */
  std::string name(std::size_t place) const {
    return textAt(names_, place * kNameSize, static_cast<std::size_t>(row(place).port));
  }
  int fd(std::size_t place) const { return fds_[place]; }

  /** Whether nothing was written outside the memory, nor to the end of any slot. */
  bool keptItsWalls() const {
    const auto whole = [](std::span<const std::byte> wall) {
      return std::ranges::all_of(wall, [](std::byte each) { return each == kBrick; });
    };
    bool kept = isUntouched(rows_.front()) && isUntouched(rows_.back());
    for (const auto& memory : {slab_, names_})
      kept &= whole(std::span(memory).first(kWall)) && whole(std::span(memory).last(kWall));
    for (std::size_t end = kWall + slotSize_; end <= slab_.size() - kWall; end += slotSize_)
      kept &= whole(std::span(slab_).subspan(end - kSlotGap, kSlotGap));
    return kept;
  }

 private:
  static constexpr std::size_t kWall = 256;
  static constexpr std::byte kBrick{0xa5};

  static DatagramRow untouched() {
    DatagramRow row;
    std::memset(&row, 0x5a, sizeof row);
    return row;
  }
  static bool isUntouched(const DatagramRow& row) {
    const DatagramRow expected = untouched();
    return std::memcmp(&row, &expected, sizeof row) == 0;
  }
  static std::span<std::byte> inside(std::vector<std::byte>& memory) {
    return std::span(memory).subspan(kWall, memory.size() - (2 * kWall));
  }
  static std::string textAt(const std::vector<std::byte>& memory, std::size_t from,
                            std::size_t size) {
    return {reinterpret_cast<const char*>(memory.data()) + kWall + from, size};
  }

  std::size_t slotSize_;
  std::vector<std::byte> slab_;
  std::vector<std::byte> names_;
  std::vector<DatagramRow> rows_;
  std::vector<int> fds_;
};

/** Messages to be sent, as TypeScript hands them over. */
class Outbox {
 public:
  /** A message to whom the socket is connected to; what is changed in its row counts. */
  DatagramRow& add(std::string_view text) {
    DatagramRow& row = rows_.emplace_back(DatagramRow{});
    row.offset = static_cast<std::int32_t>(bytes_.size());
    row.size = static_cast<std::int32_t>(text.size());
    bytes_ += text;
    return row;
  }
  /** A message to `address`, whatever its family. */
  DatagramRow& add(std::string_view text, const Address& address) {
    if (address.family() != Address::Family::local) {
      DatagramRow& row = add(text);
      readName(address, row);
      row.port = address.port();
      return row;
    }
    bytes_ += address.path();
    DatagramRow& row = add(text);
    row.family = DatagramRow::kUnix;
    row.port = static_cast<std::int32_t>(address.path().size());
    return row;
  }
  /** Has the message take descriptors along. */
  void attach(DatagramRow& row, std::span<const int> fds) {
    row.firstFd = static_cast<std::int32_t>(fds_.size());
    row.fdCount = static_cast<std::int32_t>(fds.size());
    fds_.insert(fds_.end(), fds.begin(), fds.end());
  }

  /** Sends from message `first` on. */
  ssize_t send(int fd, std::size_t first = 0) const {
    return sendDatagrams(fd, {.bytes = std::as_bytes(std::span(bytes_)),
                              .rows = std::span(rows_).subspan(first),
                              .fds = fds_});
  }

 private:
  std::string bytes_;
  std::vector<DatagramRow> rows_;
  std::vector<int> fds_;
};

}  // namespace ioloop
