#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>

#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * Pipes, FIFOs, terminals and character devices, and sockets used as such: what read(2) and
 * write(2) are for. Readable and writable sides are the opener's choice (O_ACCMODE).
 */

/**
 * Makes what somebody else opened fit for streams: non-blocking, and close-on-exec but for the
 * standard ones, which children inherit by their numbers. Its status flags (F_GETFL) as they were.
 * EPERM for what is always ready and so cannot be waited for: a regular file, a directory.
 */
Result<int> adoptPipe(int fd) noexcept;

/** Sets the status flags: they are the open file's, so others who share it see them too (open(2)).
 */
Status restoreFlags(int fd, int flags) noexcept;

/** Bytes read into `target`, 0 at the end or for no room, or -errno. */
ssize_t readSome(int fd, std::span<std::byte> target) noexcept;
/** Bytes of `source` that were taken, or -errno. EPIPE is an answer, never a signal. */
ssize_t writeSome(int fd, std::span<const std::byte> source) noexcept;

/** /dev/null: a number in reserve for when there are no others. */
Result<UniqueFd> openSpare() noexcept;

}  // namespace ioloop
