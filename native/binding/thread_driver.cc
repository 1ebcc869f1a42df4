#include "binding/thread_driver.h"

#include <pthread.h>

#include <array>
#include <atomic>

#include "binding/errors.h"
#include "core/sys.h"
#include "core/waker.h"

namespace ioloop {
namespace {

/** Deletes itself in the finalizer of its threadsafe function, when its thread has ended. */
class ThreadDriver final : public Driver {
 public:
  ThreadDriver(std::shared_ptr<TurnRunner> runner, Waker control, std::function<void()> onClosed)
      : runner_(std::move(runner)), control_(std::move(control)), onClosed_(std::move(onClosed)) {}

  bool open(Napi::Env env) {
    const Napi::String name = Napi::String::New(env, "IOLoop");
    if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, onFinalize,
                                        this, onCall, &function_) != napi_ok)
      return false;
    napi_unref_threadsafe_function(env, function_);
    env_ = env;
    return true;
  }

  /**
   * 0, or the errno of pthread_create(3): then the finalizer frees the driver. Not std::thread,
   * which throws when there are too many.
   */
  int start() {
    const auto run = [](void* driver) -> void* {
      static_cast<ThreadDriver*>(driver)->watch();
      return nullptr;
    };
    const int error = ::pthread_create(&thread_, nullptr, run, this);
    started_ = error == 0;
    if (started_) return 0;
    closing_ = true;
    onClosed_ = nullptr;
    napi_release_threadsafe_function(function_, napi_tsfn_abort);
    return error;
  }

  void arrange(bool keepAlive, bool again) override {
    if (closing_) return;
    if (keepAlive != referenced_) {
      keepAlive ? napi_ref_threadsafe_function(env_, function_)
                : napi_unref_threadsafe_function(env_, function_);
      referenced_ = keepAlive;
    }
    again_ = again;
    // A settle from outside a turn changes what the thread waits for; one after a turn lets it go.
    asked_ = false;
    control_.wake();
  }

  void close() override {
    if (closing_) return;
    closing_ = true;
    runner_->close();
    // Whoever awaits the end keeps the process alive until the thread has ended.
    if (!referenced_) napi_ref_threadsafe_function(env_, function_);
    stopping_ = true;
    control_.wake();
  }

 private:
  /** The thread: sleeps until the poller is readable or the loop asks for a turn, then calls it. */
  void watch() {
    std::array<pollfd, 2> fds{
        {{control_.fd(), POLLIN, 0}, {runner_->poller().pollableFd(), POLLIN, 0}}};
    while (!stopping_) {
      const bool waitingForTurn = asked_;
      fds[1].fd = waitingForTurn ? -1 : runner_->poller().pollableFd();
      const timespec atOnce{};
      sys().poll(fds.data(), fds.size(), again_ && !waitingForTurn ? &atOnce : nullptr);
      if ((fds[0].revents & POLLIN) != 0) control_.drain();
      const bool due = (fds[1].revents & POLLIN) != 0 || again_;
      if (stopping_ || asked_ || !due) continue;
      asked_ = true;
      // The environment is ending, and that answer was a release.
      if (napi_call_threadsafe_function(function_, this, napi_tsfn_nonblocking) == napi_closing)
        return;
    }
    napi_release_threadsafe_function(function_, napi_tsfn_release);
  }

  static void onCall(napi_env env, napi_value, void* context, void*) {
    auto* driver = static_cast<ThreadDriver*>(context);
    if (env == nullptr || driver->closing_ || driver->runner_->inTurn()) return;
    const auto runner = driver->runner_;
    (void)runner->dispatchOnly(env);
  }

  static void onFinalize(napi_env, void*, void* context) {
    auto* driver = static_cast<ThreadDriver*>(context);
    driver->stopping_ = true;
    driver->control_.wake();
    if (driver->started_) ::pthread_join(driver->thread_, nullptr);
    // Not closed by the loop: the environment ends, and no JavaScript may be called any more.
    if (!driver->closing_) driver->runner_->release();
    const auto onClosed = driver->closing_ ? std::move(driver->onClosed_) : nullptr;
    delete driver;
    if (onClosed) onClosed();
  }

  Napi::Env env_{nullptr};
  std::shared_ptr<TurnRunner> runner_;
  Waker control_;
  std::function<void()> onClosed_;
  napi_threadsafe_function function_ = nullptr;
  pthread_t thread_{};
  bool started_ = false;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> asked_{false};  // a turn is on its way and has not settled
  std::atomic<bool> again_{false};
  bool referenced_ = false;
  bool closing_ = false;
};

}  // namespace

Driver* createThreadDriver(Napi::Env env, std::shared_ptr<TurnRunner> runner,
                           std::function<void()> onClosed) {
  auto control = Waker::create();
  if (!control) {
    throwSystemError(env, control.error());
    return nullptr;
  }
  auto driver =
      std::make_unique<ThreadDriver>(std::move(runner), std::move(*control), std::move(onClosed));
  if (!driver->open(env)) {
    Napi::Error::New(env, "no threadsafe function to be had").ThrowAsJavaScriptException();
    return nullptr;
  }
  ThreadDriver* const own = driver.release();  // its finalizer frees it from here on
  if (const int error = own->start(); error != 0) {
    throwSystemError(env, {error, "pthread_create"});
    return nullptr;
  }
  return own;
}

}  // namespace ioloop
