#pragma once

#include <napi.h>

#include <memory>

#include "binding/driver.h"
#include "binding/turn_runner.h"

namespace ioloop {

/**
 * The native half of an IOLoop, as src/native.ts declares it. What it owns lives on the heap and
 * outlives it: the driver keeps the runner until its handles are closed.
 */
class PollerWrap : public Napi::ObjectWrap<PollerWrap> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit PollerWrap(const Napi::CallbackInfo& info);
  ~PollerWrap() override;

  TurnRunner* runner() const noexcept { return runner_.get(); }

 private:
  Napi::Value runOnce(const Napi::CallbackInfo& info);
  Napi::Value settled(const Napi::CallbackInfo& info);
  Napi::Value counters(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  std::shared_ptr<TurnRunner> runner_;
  Driver* driver_ = nullptr;  // frees itself once closed
};

}  // namespace ioloop
