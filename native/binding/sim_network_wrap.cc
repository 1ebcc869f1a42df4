#include "binding/sim_network_wrap.h"

#include <array>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <utility>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "binding/milliseconds.h"

namespace ioloop {
namespace {

/** The network behind `this`, nullptr once it is closed. */
template <std::size_t N>
SimNetwork* networkOf(const Arguments<N>& arguments) noexcept {
  const auto* wrap = arguments.template self<SimNetworkWrap>();
  return wrap == nullptr ? nullptr : wrap->network().get();
}

/** (): [fd, fd], two connected sockets. */
napi_value connectPair(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  SimNetwork* network = networkOf(arguments);
  auto pair = network == nullptr ? Result<std::array<UniqueFd, 2>>(SysError{EBADF, "socketpair"})
                                 : network->socketPair();
  if (!pair) {
    throwSystemError(env, pair.error());
    return nullptr;
  }
  const Napi::Array fds = Napi::Array::New(env);
  for (UniqueFd& fd : *pair) fds.Set(fds.Length(), Environment::of(env).keep(std::move(fd)));
  return fds;
}

/**
 * (untilMs): moves the clock to what happens next, but not past `untilMs`, and lets it happen.
 * Whether anything did.
 */
napi_value advanceToNext(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  SimNetwork* network = networkOf(arguments);
  if (network == nullptr) return toBoolean(env, false);
  const Instant limit = instantAt(arguments.number(0).value_or(0));
  const auto next = network->nextEvent();
  network->advanceToNext(limit);
  return toBoolean(env, next && *next <= limit);
}

napi_value time(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const SimNetwork* network = networkOf(arguments);
  return toNumber(env, network == nullptr ? 0 : toMilliseconds(network->now().time_since_epoch()));
}

/** (): 16 hexadecimal digits. */
napi_value traceHash(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const SimNetwork* network = networkOf(arguments);
  const std::uint64_t hash = network == nullptr ? 0 : network->traceHash();
  std::array<char, 16> digits{};
  for (std::size_t place = 0; place < digits.size(); ++place)
    digits[place] = "0123456789abcdef"[(hash >> (60 - 4 * place)) & 15];
  napi_value result = nullptr;
  napi_create_string_latin1(env, digits.data(), digits.size(), &result);
  return result;
}

napi_value openDescriptors(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const SimNetwork* network = networkOf(arguments);
  return toNumber(env,
                  network == nullptr ? 0 : static_cast<std::int32_t>(network->openDescriptors()));
}

/** (): the stream sockets that this thread makes from now on are this network's. */
napi_value host(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  if (SimNetwork* network = networkOf(arguments); network != nullptr)
    SimNetwork::exchangeHost(network);
  return nullptr;
}

/** (): this thread makes kernel sockets again. */
napi_value unhost(napi_env, napi_callback_info) {
  SimNetwork::exchangeHost(nullptr);
  return nullptr;
}

napi_value closeNetwork(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  if (auto* wrap = arguments.self<SimNetworkWrap>(); wrap != nullptr) wrap->close();
  return nullptr;
}

template <napi_callback call>
napi_property_descriptor method(const char* name) noexcept {
  return {name, nullptr, call, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

}  // namespace

Napi::Function SimNetworkWrap::define(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "SimNetwork", {});
  if (constructor.IsEmpty()) return constructor;
  const napi_property_descriptor methods[] = {
      method<connectPair>("connectPair"),
      method<advanceToNext>("advanceToNext"),
      method<time>("time"),
      method<traceHash>("traceHash"),
      method<openDescriptors>("openDescriptors"),
      method<host>("host"),
      method<unhost>("unhost"),
      method<closeNetwork>("close"),
  };
  napi_value prototype = nullptr;
  napi_get_named_property(env, constructor, "prototype", &prototype);
  napi_define_properties(env, prototype, std::size(methods), methods);
  return constructor;
}

// (seed, bufferSize, minDelayMs, maxDelayMs, shortRead, shortWrite, spuriousAgain, interrupt,
//  shuffleReady)
SimNetworkWrap::SimNetworkWrap(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<SimNetworkWrap>(info) {
  // An environment that is ending refuses to wrap, and nobody would ever free what is made here.
  void* wrapped = nullptr;
  if (napi_unwrap(info.Env(), info.This(), &wrapped) != napi_ok) return;
  const auto number = [&](std::size_t index) {
    return info[index].As<Napi::Number>().DoubleValue();
  };
  network_ =
      std::make_shared<SimNetwork>(static_cast<std::uint64_t>(number(0)),
                                   SimOptions{.bufferSize = static_cast<std::size_t>(number(1)),
                                              .minDelay = fromMilliseconds(number(2)),
                                              .maxDelay = fromMilliseconds(number(3)),
                                              .shortRead = number(4),
                                              .shortWrite = number(5),
                                              .spuriousAgain = number(6),
                                              .interrupt = number(7),
                                              .shuffleReady = info[8].As<Napi::Boolean>().Value()});
}

std::shared_ptr<SimNetwork> simNetworkOf(Napi::Value value) {
  void* wrap = nullptr;
  if (!value.IsObject() || napi_unwrap(value.Env(), value, &wrap) != napi_ok) return nullptr;
  return static_cast<SimNetworkWrap*>(wrap)->network();
}

void exportSimNetworkClass(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = SimNetworkWrap::define(env);
  // What is empty has no environment either, and using it would end the process.
  if (constructor.IsEmpty()) return;
  exports.Set("SimNetwork", constructor);
}

}  // namespace ioloop
