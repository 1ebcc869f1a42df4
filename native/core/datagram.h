#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "core/datagram_row.h"

namespace ioloop {

/**
 * Messages in batches: one system call receives or sends up to 64 of them where the system has
 * recvmmsg(2) and sendmmsg(2); where it answers ENOSYS, each takes one. Neither ever blocks, and
 * neither raises a SIGPIPE.
 */

/** Most messages of one call. */
inline constexpr std::size_t kMostDatagrams = 64;
/** What stays free at the end of a slot, so that slots do not share cache lines. */
inline constexpr std::size_t kSlotGap = 64;

/** Where received messages go. */
struct DatagramTarget {
  /** A slot for each message. */
  std::span<std::byte> slab;
  std::size_t slotSize;
  std::span<DatagramRow> rows;
  /** kNameSize for each message: its sender's name in the Unix domain. */
  std::span<std::byte> names;
  /** Has room for kMaxPassedFds of each message. Empty: descriptors that come are closed. */
  std::span<int> fds;
};

/**
 * Receives as many messages as are there and have room: how many, or -errno. EINVAL: there is no
 * room for one.
 *
 * The end of a seqpacket connection is a message of no bytes from nobody, as often as there is
 * room; an empty one differs from it by the credentials that come along (SO_PASSCRED, unix(7)).
 */
ssize_t receiveDatagrams(int fd, const DatagramTarget& target) noexcept;

/** What is sent. */
struct DatagramSource {
  /** The data of all rows; in the Unix domain a row's name stands right before its data. */
  std::span<const std::byte> bytes;
  std::span<const DatagramRow> rows;
  /** The descriptors that rows send along; they stay the caller's. */
  std::span<const int> fds;
};

/**
 * Sends from the first row on until one fails: how many were taken, or -errno of the first. EINVAL:
 * a row names what is not in `bytes` or `fds`.
 *
 * ICMP's answer to an earlier datagram, which Linux gives to whichever call comes next, fails no
 * row: it stays for receiveError().
 */
ssize_t sendDatagrams(int fd, const DatagramSource& source) noexcept;

}  // namespace ioloop
