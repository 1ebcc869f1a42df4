#include "binding/node_driver.h"

#include <cerrno>
#include <cstdlib>

#include "binding/environment.h"
#include "binding/errors.h"

// The part of libuv that this file uses, declared here because node-api-headers have no uv.h. The
// names and numbers are libuv's ABI of all 1.x releases. Weak: Bun and others have none of them.
extern "C" {
struct uv_loop_s;
struct uv_handle_s;
using uv_close_cb = void (*)(uv_handle_s* handle);
using uv_poll_cb = void (*)(uv_handle_s* handle, int status, int events);
using uv_idle_cb = void (*)(uv_handle_s* handle);
#define IOLOOP_WEAK __attribute__((weak))
IOLOOP_WEAK std::size_t uv_handle_size(int type);
IOLOOP_WEAK void uv_handle_set_data(uv_handle_s* handle, void* data);
IOLOOP_WEAK void* uv_handle_get_data(const uv_handle_s* handle);
IOLOOP_WEAK int uv_poll_init(uv_loop_s* loop, uv_handle_s* handle, int fd);
IOLOOP_WEAK int uv_poll_start(uv_handle_s* handle, int events, uv_poll_cb callback);
IOLOOP_WEAK int uv_poll_stop(uv_handle_s* handle);
IOLOOP_WEAK int uv_idle_init(uv_loop_s* loop, uv_handle_s* handle);
IOLOOP_WEAK int uv_idle_start(uv_handle_s* handle, uv_idle_cb callback);
IOLOOP_WEAK int uv_idle_stop(uv_handle_s* handle);
IOLOOP_WEAK void uv_ref(uv_handle_s* handle);
IOLOOP_WEAK void uv_unref(uv_handle_s* handle);
IOLOOP_WEAK void uv_close(uv_handle_s* handle, uv_close_cb callback);
IOLOOP_WEAK int uv_backend_fd(const uv_loop_s* loop);
#undef IOLOOP_WEAK
}

namespace ioloop {
namespace {

constexpr int kUvIdle = 6;      // UV_IDLE of uv_handle_type
constexpr int kUvPoll = 8;      // UV_POLL
constexpr int kUvReadable = 1;  // UV_READABLE

struct FreeHandle {
  void operator()(uv_handle_s* handle) const noexcept { std::free(handle); }
};
using UvHandle = std::unique_ptr<uv_handle_s, FreeHandle>;

UvHandle allocateHandle(int type) noexcept {
  return UvHandle(static_cast<uv_handle_s*>(std::calloc(1, uv_handle_size(type))));
}

/** Deletes itself when libuv has let go of both handles. */
class NodeDriver final : public Driver {
 public:
  NodeDriver(Napi::Env env, std::shared_ptr<TurnRunner> runner, std::function<void()> onClosed)
      : env_(env),
        runner_(std::move(runner)),
        onClosed_(std::move(onClosed)),
        poll_(allocateHandle(kUvPoll)),
        idle_(allocateHandle(kUvIdle)) {}

  /** 0, or libuv's error: then nothing is left to close. */
  int open() {
    uv_loop_s* loop = nullptr;
    if (!poll_ || !idle_ || napi_get_uv_event_loop(env_, &loop) != napi_ok) return -ENOMEM;
    if (const int error = uv_poll_init(loop, poll_.get(), runner_->poller().pollableFd());
        error < 0)
      return error;
    uv_idle_init(loop, idle_.get());
    for (uv_handle_s* handle : {poll_.get(), idle_.get()}) {
      uv_handle_set_data(handle, this);
      uv_unref(handle);
    }
    uv_poll_start(poll_.get(), kUvReadable, onReadable);
    napi_add_async_cleanup_hook(env_, onEnvironmentEnd, this, &cleanup_);
    return 0;
  }

  void arrange(bool keepAlive, bool again) override {
    if (closing_) return;
    if (keepAlive != referenced_) {
      keepAlive ? uv_ref(poll_.get()) : uv_unref(poll_.get());
      referenced_ = keepAlive;
    }
    if (again != idling_) {
      again ? uv_idle_start(idle_.get(), onIdle) : uv_idle_stop(idle_.get());
      idling_ = again;
    }
    if (rebuilds_ != runner_->poller().rebuilds()) watchAgain();
  }

  void close() override {
    if (closing_) return;
    closing_ = true;
    runner_->close();
    uv_close(poll_.get(), onHandleClosed);
    uv_close(idle_.get(), onHandleClosed);
  }

 private:
  static NodeDriver* from(const uv_handle_s* handle) {
    return static_cast<NodeDriver*>(uv_handle_get_data(handle));
  }

  static void onReadable(uv_handle_s* handle, int, int) { from(handle)->turn(); }
  static void onIdle(uv_handle_s* handle) { from(handle)->turn(); }

  void turn() {
    // A nested run of libuv's loop (a debugger's pause) finds the turn under way.
    if (closing_ || runner_->inTurn()) return;
    const auto runner = runner_;  // close() may drop ours
    const Napi::HandleScope handles(env_);
    switch (runner->run(env_)) {
      case CallOutcome::returned:
        arrange(runner->keepAlive(), runner->again());
        break;
      case CallOutcome::closed:
        break;
      case CallOutcome::ending:
        uv_poll_stop(poll_.get());
        uv_idle_stop(idle_.get());
        break;
    }
  }

  // The number stands for another file now, and libuv's set forgot the old one when it was closed.
  void watchAgain() {
    rebuilds_ = runner_->poller().rebuilds();
    uv_poll_stop(poll_.get());
    uv_poll_start(poll_.get(), kUvReadable, onReadable);
  }

  // Asynchronous, because handles close in a later pass of the loop: a synchronous hook would
  // leave libuv with freed memory when only a worker loaded the addon.
  static void onEnvironmentEnd(napi_async_cleanup_hook_handle, void* data) {
    auto* driver = static_cast<NodeDriver*>(data);
    driver->onClosed_ = nullptr;
    driver->runner_->release();
    driver->close();
  }

  static void onHandleClosed(uv_handle_s* handle) {
    NodeDriver* driver = from(handle);
    if (++driver->closedHandles_ < 2) return;
    const auto cleanup = driver->cleanup_;
    const auto onClosed = std::move(driver->onClosed_);
    delete driver;
    if (onClosed) onClosed();
    napi_remove_async_cleanup_hook(cleanup);
  }

  Napi::Env env_;
  std::shared_ptr<TurnRunner> runner_;
  std::function<void()> onClosed_;
  UvHandle poll_;
  UvHandle idle_;
  napi_async_cleanup_hook_handle cleanup_ = nullptr;
  std::uint64_t rebuilds_ = 0;
  int closedHandles_ = 0;
  bool referenced_ = false;
  bool idling_ = false;
  bool closing_ = false;
};

}  // namespace

bool hasLibuv(Napi::Env env) {
  if (uv_poll_init == nullptr || uv_handle_size == nullptr) return false;
  // Bun exports the names, but calling one ends the process:
  // https://github.com/oven-sh/bun/issues/18546
  // Read by status: an environment that is ending has no properties to give.
  napi_value value = nullptr;
  if (napi_get_global(env, &value) != napi_ok) return false;
  for (const char* name : {"process", "versions", "bun"})
    if (napi_get_named_property(env, value, name, &value) != napi_ok) return false;
  napi_valuetype type{};
  return napi_typeof(env, value, &type) == napi_ok && type == napi_undefined;
}

int libuvBackendFd(Napi::Env env) noexcept {
  uv_loop_s* loop = nullptr;
  if (!Environment::of(env).hasLibuv || napi_get_uv_event_loop(env, &loop) != napi_ok) return -1;
  return uv_backend_fd(loop);
}

Driver* createNodeDriver(Napi::Env env, std::shared_ptr<TurnRunner> runner,
                         std::function<void()> onClosed) {
  auto driver = std::make_unique<NodeDriver>(env, std::move(runner), std::move(onClosed));
  if (const int error = driver->open(); error < 0) {
    throwSystemError(env, {-error, "uv_poll_init"});
    return nullptr;
  }
  return driver.release();
}

}  // namespace ioloop
