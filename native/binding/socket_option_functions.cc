#include <string>

#include "binding/arguments.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "core/socket_options.h"
#include "core/tcp_info.h"

namespace ioloop {
namespace {

const char* nameOf(SocketOption::Kind kind) noexcept {
  switch (kind) {
    case SocketOption::Kind::integer:
      return "int";
    case SocketOption::Kind::linger:
      return "linger";
    case SocketOption::Kind::string:
      return "string";
  }
  return "";
}

/** (name): [level, number, kind], or null. */
Napi::Value socketOption(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const SocketOption* option = findSocketOption(info[0].As<Napi::String>().Utf8Value());
  if (option == nullptr) return env.Null();
  const Napi::Array row = Napi::Array::New(env, 3);
  row.Set(0U, option->level);
  row.Set(1U, option->number);
  row.Set(2U, nameOf(option->kind));
  return row;
}

/** (fd, level, number, value): 0, or -errno. */
napi_value setOption(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const Status status =
      setSocketOption(arguments.int32(0).value_or(-1), arguments.int32(1).value_or(-1),
                      arguments.int32(2).value_or(-1), arguments.bytes(3));
  return toNumber(env, status ? 0 : toNegative(status.error()));
}

/** (fd, level, number, target): the bytes filled in, or -errno. */
napi_value getOption(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  const auto size =
      getSocketOption(arguments.int32(0).value_or(-1), arguments.int32(1).value_or(-1),
                      arguments.int32(2).value_or(-1), arguments.bytes(3));
  return toNumber(env, size ? static_cast<std::int32_t>(*size) : toNegative(size.error()));
}

/** (fd): an object of numbers. */
Napi::Value tcpInfoOf(const Napi::CallbackInfo& info) {
  const Napi::Env env = info.Env();
  const auto fields = tcpInfo(info[0].As<Napi::Number>().Int32Value());
  if (!fields) {
    throwSystemError(env, fields.error());
    return {};
  }
  Napi::Object result = Napi::Object::New(env);
  for (const TcpInfoField& field : *fields)
    result.Set(field.name, Napi::Number::New(env, static_cast<double>(field.value)));
  return result;
}

}  // namespace

void exportSocketOptionFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("socketOption", Napi::Function::New(env, socketOption, "socketOption"));
  exports.Set("tcpInfo", Napi::Function::New(env, tcpInfoOf, "tcpInfo"));
  exportHot(env, exports, "setSocketOption", setOption);
  exportHot(env, exports, "getSocketOption", getOption);
}

}  // namespace ioloop
