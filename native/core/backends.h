#pragma once

#include <span>
#include <string_view>

#include "core/backend.h"

#if defined(__linux__)
#define IOLOOP_HAS_EPOLL 1
#else
#define IOLOOP_HAS_EPOLL 0
#endif

// A test build may define IOLOOP_EMULATE_KQUEUE: kqueue then runs on an emulation of kevent(2).
#if defined(__APPLE__) || defined(__FreeBSD__) || defined(__OpenBSD__) || defined(__NetBSD__) || \
    defined(__DragonFly__) || defined(IOLOOP_EMULATE_KQUEUE)
#define IOLOOP_HAS_KQUEUE 1
#else
#define IOLOOP_HAS_KQUEUE 0
#endif

namespace ioloop {

/** One way to wait that this build knows. */
struct BackendRow {
  std::string_view name;
  BackendFactory create;
};

/** The backends of this build on this system, best first. Adding one is adding a row. */
std::span<const BackendRow> backends() noexcept;

/** The row of that name, nullptr when there is none. */
const BackendRow* findBackend(std::string_view name) noexcept;

/** The system's own event set, epoll or kqueue: what poll and select mirror their interest in. */
Result<std::unique_ptr<Backend>> createSystemSet() noexcept;

}  // namespace ioloop
