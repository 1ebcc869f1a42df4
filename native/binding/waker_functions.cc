#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "binding/waker_registry.h"

namespace ioloop {
namespace {

Napi::Value createWaker(const Napi::CallbackInfo& info) {
  const auto id = WakerRegistry::create();
  if (!id) {
    throwSystemError(info.Env(), id.error());
    return {};
  }
  Environment::of(info.Env()).wakers.insert(*id);
  return Napi::Number::New(info.Env(), *id);
}

napi_value wake(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return toBoolean(env, WakerRegistry::wake(arguments.uint32(0).value_or(0)));
}

napi_value drainWaker(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  WakerRegistry::drain(arguments.uint32(0).value_or(0));
  return nullptr;
}

napi_value wakerFd(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return toNumber(env, WakerRegistry::fd(arguments.uint32(0).value_or(0)));
}

napi_value wakerWriteFd(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  return toNumber(env, WakerRegistry::writeFd(arguments.uint32(0).value_or(0)));
}

void closeWaker(const Napi::CallbackInfo& info) {
  const std::uint32_t id = info[0].As<Napi::Number>().Uint32Value();
  Environment::of(info.Env()).wakers.erase(id);
  WakerRegistry::close(id);
}

}  // namespace

void exportWakerFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("createWaker", Napi::Function::New(env, createWaker, "createWaker"));
  exports.Set("closeWaker", Napi::Function::New(env, closeWaker, "closeWaker"));
  exportHot(env, exports, "wake", wake);
  exportHot(env, exports, "drainWaker", drainWaker);
  exportHot(env, exports, "wakerFd", wakerFd);
  exportHot(env, exports, "wakerWriteFd", wakerWriteFd);
}

}  // namespace ioloop
