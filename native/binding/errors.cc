#include "binding/errors.h"

#include <cstring>

namespace ioloop {

void throwSystemError(Napi::Env env, const SysError& error) {
  Napi::Error thrown = Napi::Error::New(env, std::strerror(error.code));
  thrown.Set("errno", Napi::Number::New(env, -error.code));
  thrown.Set("syscall", Napi::String::New(env, error.call));
  thrown.ThrowAsJavaScriptException();
}

}  // namespace ioloop
