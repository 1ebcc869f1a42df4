#include <string>

#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "core/sys.h"

namespace ioloop {
namespace {

Napi::Value inotifyInit(const Napi::CallbackInfo& info) {
#if defined(__linux__)
  UniqueFd fd(sys().inotifyInit(IN_NONBLOCK | IN_CLOEXEC));
  if (fd) return Napi::Number::New(info.Env(), Environment::of(info.Env()).keep(std::move(fd)));
  throwSystemError(info.Env(), lastError("inotify_init1"));
#else
  throwSystemError(info.Env(), {ENOSYS, "inotify_init1"});
#endif
  return {};
}

// (fd, path, mask): the watch, or -errno.
Napi::Value inotifyAddWatch(const Napi::CallbackInfo& info) {
#if defined(__linux__)
  const std::string path = info[1].As<Napi::String>().Utf8Value();
  const int watch = sys().inotifyAddWatch(info[0].As<Napi::Number>().Int32Value(), path.c_str(),
                                          info[2].As<Napi::Number>().Uint32Value());
  return Napi::Number::New(info.Env(), watch < 0 ? -errno : watch);
#else
  return Napi::Number::New(info.Env(), -ENOSYS);
#endif
}

}  // namespace

void exportInotifyFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("inotifyInit", Napi::Function::New(env, inotifyInit, "inotifyInit"));
  exports.Set("inotifyAddWatch", Napi::Function::New(env, inotifyAddWatch, "inotifyAddWatch"));
}

}  // namespace ioloop
