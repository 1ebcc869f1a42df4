#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <span>

#include "core/datagram_row.h"
#include "core/passed_fds.h"
#include "core/result.h"

namespace ioloop {

/** What comes along with a message, and goes along: control messages, cmsg(3). */

/** The control space of a message without descriptors: all that we ever ask for or send, twice. */
inline constexpr std::size_t kControlSpace = 256;
/** The same with as many descriptors as a message can have. */
inline constexpr std::size_t kFullControlSpace = kControlSpace + kPassedFdsSpace;

/**
 * Says in `row` what came along with `message`. Descriptors go to the start of `fds`, which tells
 * in `row.fdCount` how many; those without room there are closed.
 */
void readControl(msghdr& message, DatagramRow& row, std::span<int> fds) noexcept;

/**
 * Writes what `row` asks to go along, `fds` among it, to `control`, which is aligned as a cmsghdr
 * is and has kFullControlSpace: the bytes used. EINVAL: it makes no sense; ENOPROTOOPT: this system
 * has no such thing.
 */
Result<std::size_t> writeControl(const DatagramRow& row, std::span<const int> fds,
                                 std::span<std::byte> control) noexcept;

}  // namespace ioloop
