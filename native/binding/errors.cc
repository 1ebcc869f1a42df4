#include "binding/errors.h"

#include <system_error>

namespace ioloop {

void throwSystemError(Napi::Env env, const SysError& error) {
  const Napi::Error thrown = Napi::Error::New(env, std::generic_category().message(error.code));
  thrown.Set("errno", Napi::Number::New(env, -error.code));
  thrown.Set("syscall", Napi::String::New(env, error.call));
  thrown.ThrowAsJavaScriptException();
}

}  // namespace ioloop
