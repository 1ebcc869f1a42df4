#include <string>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "core/address.h"
#include "core/socket.h"

namespace ioloop {
namespace {

/** The first three arguments: a path, or else an IP literal and a port. src/native-streams.ts says
 * why. */
Result<Address> addressOf(const Napi::CallbackInfo& info) {
  if (info[0].IsString()) return Address::local(info[0].As<Napi::String>().Utf8Value());
  return Address::inet(info[1].As<Napi::String>().Utf8Value(),
                       static_cast<std::uint16_t>(info[2].As<Napi::Number>().Uint32Value()));
}

Napi::Value toAddress(Napi::Env env, const Result<Address>& address) {
  if (!address) {
    throwSystemError(env, address.error());
    return {};
  }
  Napi::Object result = Napi::Object::New(env);
  if (address->family() == Address::Family::local) {
    const std::string_view path = address->path();
    result.Set("path", Napi::String::New(env, path.data(), path.size()));
  } else {
    result.Set("address", Napi::String::New(env, address->host()));
    result.Set("port", Napi::Number::New(env, address->port()));
  }
  return result;
}

Napi::Value keepOrThrow(Napi::Env env, Result<UniqueFd> made) {
  if (made) return Napi::Number::New(env, Environment::of(env).keep(std::move(*made)));
  throwSystemError(env, made.error());
  return {};
}

Napi::Value listen(const Napi::CallbackInfo& info) {
  const auto address = addressOf(info);
  if (!address) return keepOrThrow(info.Env(), address.error());
  return keepOrThrow(info.Env(),
                     listenSocket(*address, {.backlog = info[3].As<Napi::Number>().Int32Value(),
                                             .reusePort = info[4].As<Napi::Boolean>().Value()}));
}

Napi::Value connect(const Napi::CallbackInfo& info) {
  const auto address = addressOf(info);
  if (!address) return keepOrThrow(info.Env(), address.error());
  return keepOrThrow(info.Env(), connectSocket(*address));
}

Napi::Value socketAddress(const Napi::CallbackInfo& info) {
  return toAddress(info.Env(), localAddress(info[0].As<Napi::Number>().Int32Value()));
}

Napi::Value peerAddressOf(const Napi::CallbackInfo& info) {
  return toAddress(info.Env(), peerAddress(info[0].As<Napi::Number>().Int32Value()));
}

napi_value accept(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  auto accepted = acceptSocket(arguments.int32(0).value_or(-1));
  if (!accepted) return toNumber(env, toNegative(accepted.error()));
  return toNumber(env, Environment::of(env).keep(std::move(*accepted)));
}

napi_value pendingError(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const Status status = socketError(arguments.int32(0).value_or(-1));
  return toNumber(env, status ? 0 : toNegative(status.error()));
}

// Both leave their result in the environment's word.
napi_value recv(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  *arguments.data<Environment>().result =
      static_cast<std::int32_t>(recvSome(arguments.int32(0).value_or(-1), arguments.range(1)));
  return nullptr;
}

napi_value send(napi_env env, napi_callback_info info) {
  const Arguments<4> arguments(env, info);
  *arguments.data<Environment>().result =
      static_cast<std::int32_t>(sendSome(arguments.int32(0).value_or(-1), arguments.range(1)));
  return nullptr;
}

Napi::Value shutdown(const Napi::CallbackInfo& info) {
  const Status status = shutdownWrite(info[0].As<Napi::Number>().Int32Value());
  if (!status) throwSystemError(info.Env(), status.error());
  return {};
}

Napi::Value closeFd(const Napi::CallbackInfo& info) {
  const int fd = info[0].As<Napi::Number>().Int32Value();
  Environment::of(info.Env()).descriptors.erase(fd);
  if (sys().close(fd) < 0 && errno != EINTR) throwSystemError(info.Env(), lastError("close"));
  return {};
}

}  // namespace

void exportSocketFunctions(Napi::Env env, Napi::Object exports) {
  exports.Set("listenSocket", Napi::Function::New(env, listen, "listenSocket"));
  exports.Set("connectSocket", Napi::Function::New(env, connect, "connectSocket"));
  exports.Set("socketAddress", Napi::Function::New(env, socketAddress, "socketAddress"));
  exports.Set("peerAddress", Napi::Function::New(env, peerAddressOf, "peerAddress"));
  exports.Set("shutdownFd", Napi::Function::New(env, shutdown, "shutdownFd"));
  exports.Set("closeFd", Napi::Function::New(env, closeFd, "closeFd"));
  exportHot(env, exports, "acceptSocket", accept);
  exportHot(env, exports, "socketError", pendingError);
  Environment& environment = Environment::of(env);
  auto result = Napi::Int32Array::New(env, 1);
  if (result.IsEmpty()) return;  // the environment is ending
  environment.result = result.Data();
  environment.resultMemory = Napi::Persistent(result);
  exports.Set("result", result);
  exportHot(env, exports, "recv", recv, &environment);
  exportHot(env, exports, "send", send, &environment);
}

}  // namespace ioloop
