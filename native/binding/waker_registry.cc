#include "binding/waker_registry.h"

#include <mutex>
#include <unordered_map>

#include "core/sys.h"

namespace ioloop {
namespace {

constexpr std::uint32_t kMaxId = 0x7fffffff;

struct Wakers {
  std::mutex mutex;
  std::unordered_map<std::uint32_t, Waker> byId;
  // Begins anywhere, so that the ids of two copies of the addon in one process do not meet; below
  // 2^31, so that an Int32Array carries it to another thread.
  std::uint32_t nextId =
      kMaxId & static_cast<std::uint32_t>(monotonicNow().time_since_epoch().count());
};

// Never destroyed: a thread may wake a loop while the process runs its exit handlers.
Wakers& wakers() noexcept {
  static auto* const instance = new Wakers;
  return *instance;
}

/** Calls `use` on the waker, under the lock, so that it cannot be closed meanwhile. */
template <typename Use>
bool with(std::uint32_t id, Use use) noexcept {
  Wakers& all = wakers();
  const std::lock_guard lock(all.mutex);
  const auto found = all.byId.find(id);
  if (found == all.byId.end()) return false;
  use(found->second);
  return true;
}

}  // namespace

Result<std::uint32_t> WakerRegistry::create() noexcept {
  auto waker = Waker::create();
  if (!waker) return waker.error();
  Wakers& all = wakers();
  const std::lock_guard lock(all.mutex);
  do {
    all.nextId = all.nextId >= kMaxId ? 1 : all.nextId + 1;
  } while (all.byId.contains(all.nextId));
  const std::uint32_t id = all.nextId;
  all.byId.emplace(id, std::move(*waker));
  return id;
}

bool WakerRegistry::wake(std::uint32_t id) noexcept {
  return with(id, [](Waker& waker) { waker.wake(); });
}

void WakerRegistry::drain(std::uint32_t id) noexcept {
  with(id, [](Waker& waker) { waker.drain(); });
}

int WakerRegistry::fd(std::uint32_t id) noexcept {
  int fd = -1;
  with(id, [&](const Waker& waker) { fd = waker.fd(); });
  return fd;
}

int WakerRegistry::writeFd(std::uint32_t id) noexcept {
  int fd = -1;
  with(id, [&](const Waker& waker) { fd = waker.writeFd(); });
  return fd;
}

void WakerRegistry::close(std::uint32_t id) noexcept {
  Wakers& all = wakers();
  const std::lock_guard lock(all.mutex);
  all.byId.erase(id);
}

}  // namespace ioloop
