#pragma once

#include <napi.h>

#include <memory>

#include "binding/driver.h"
#include "binding/turn_runner.h"

namespace ioloop {

/**
 * The native half of an IOLoop, as src/native-loop.ts declares it. What it owns lives on the heap
 * and outlives it: the driver keeps the runner until its handles are closed.
 */
class PollerWrap : public Napi::ObjectWrap<PollerWrap> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit PollerWrap(const Napi::CallbackInfo& info);
  ~PollerWrap() override;

  /** Nullptr once it is closed, by close() or by the end of the environment. */
  TurnRunner* runner() const noexcept {
    return runner_ == nullptr || runner_->closed() ? nullptr : runner_.get();
  }

  /** A settle outside a turn, or one of a manual turn, is done. */
  void settled();
  void close();

 private:
  std::shared_ptr<TurnRunner> runner_;
  Driver* driver_ = nullptr;  // frees itself once closed
};

}  // namespace ioloop
