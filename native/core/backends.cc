#include "core/backends.h"

#include <algorithm>
#include <array>

namespace ioloop {

Result<std::unique_ptr<Backend>> createEpoll() noexcept;
Result<std::unique_ptr<Backend>> createKqueue() noexcept;
Result<std::unique_ptr<Backend>> createPoll() noexcept;
Result<std::unique_ptr<Backend>> createSelect() noexcept;

namespace {

constexpr auto kBackends = std::to_array<BackendRow>({
#if IOLOOP_HAS_EPOLL
    {"epoll", createEpoll},
#endif
#if IOLOOP_HAS_KQUEUE
    {"kqueue", createKqueue},
#endif
    {"poll", createPoll},
    {"select", createSelect},
});

}  // namespace

std::span<const BackendRow> backends() noexcept { return kBackends; }

const BackendRow* findBackend(std::string_view name) noexcept {
  const auto* row = std::ranges::find(kBackends, name, &BackendRow::name);
  return row == kBackends.end() ? nullptr : row;
}

Result<std::unique_ptr<Backend>> createSystemSet() noexcept { return kBackends.front().create(); }

}  // namespace ioloop
