#include "binding/poller_wrap.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>

#include "binding/arguments.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "binding/milliseconds.h"
#include "binding/node_driver.h"
#include "binding/sim_network_wrap.h"
#include "binding/thread_driver.h"
#include "core/backends.h"
#include "core/sim/sim_backend.h"
#include "core/sys.h"

namespace ioloop {
namespace {

// JavaScript still runs for a while in an environment that is ending, when every call into it is
// refused: so these methods read their arguments by Arguments, which throws nothing.

/** The runner behind `this`, nullptr once it is closed. */
template <std::size_t N>
TurnRunner* runnerOf(const Arguments<N>& arguments) noexcept {
  const auto* wrap = arguments.template self<PollerWrap>();
  return wrap == nullptr ? nullptr : wrap->runner();
}

/** The poller behind `this`, nullptr once it is closed. */
template <std::size_t N>
Poller* pollerOf(const Arguments<N>& arguments) noexcept {
  TurnRunner* runner = runnerOf(arguments);
  return runner == nullptr ? nullptr : &runner->poller();
}

constexpr std::int32_t kClosed = -EBADF;

napi_value add(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  if (poller == nullptr) return toNumber(env, kClosed);
  const auto generation = poller->add(arguments.int32(0).value_or(-1),
                                      static_cast<Ready>(arguments.uint32(1).value_or(0)));
  return toNumber(env, generation ? static_cast<double>(*generation)
                                  : static_cast<double>(toNegative(generation.error())));
}

napi_value modify(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  if (poller == nullptr) return toNumber(env, kClosed);
  const Status status = poller->modify(arguments.int32(0).value_or(-1),
                                       static_cast<Ready>(arguments.uint32(1).value_or(0)));
  return toNumber(env, status ? 0 : toNegative(status.error()));
}

napi_value remove(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  return toBoolean(env, poller != nullptr && poller->remove(arguments.int32(0).value_or(-1)));
}

napi_value forget(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  return toBoolean(env, poller != nullptr && poller->forget(arguments.int32(0).value_or(-1)));
}

napi_value applyTimerOps(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  if (TurnRunner* runner = runnerOf(arguments); runner != nullptr) runner->applyTimerOps();
  return nullptr;
}

napi_value time(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const Poller* poller = pollerOf(arguments);
  const Instant now = poller == nullptr ? monotonicNow() : poller->now();
  return toNumber(env, toMilliseconds(now.time_since_epoch()));
}

napi_value timeoutMs(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  TurnRunner* runner = runnerOf(arguments);
  Timeout timeout;
  if (runner != nullptr) {
    runner->applyTimerOps();
    timeout = runner->poller().untilDeadline();
  }
  return toNumber(env,
                  timeout ? toMilliseconds(*timeout) : std::numeric_limits<double>::infinity());
}

napi_value pollableFd(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const Poller* poller = pollerOf(arguments);
  return toNumber(env, poller == nullptr ? -1 : poller->pollableFd());
}

/** (timeoutMs): the wait of a manual turn; 0 or -errno. */
napi_value runOnce(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  TurnRunner* runner = runnerOf(arguments);
  if (runner == nullptr) return toNumber(env, kClosed);
  const double timeoutMs = arguments.number(0).value_or(0);
  Timeout timeout = fromMilliseconds(timeoutMs);
  if (std::isinf(timeoutMs) && timeoutMs > 0) timeout.reset();
  if (!timeout || timeout->count() > 0) {
    // What happens in Node's own loop ends the wait: worker.terminate() and process.exit() of
    // another thread arrive there.
    if (const Status status = runner->poller().interruptOn(libuvBackendFd(env)); !status)
      return toNumber(env, toNegative(status.error()));
  }
  runner->fill(timeout);
  return toNumber(env, 0);
}

/** (Float64Array): fills in the counters, in the order of src/native-loop.ts. */
napi_value counters(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  TurnRunner* runner = runnerOf(arguments);
  const auto target = arguments.doubles(0);
  if (runner == nullptr) return nullptr;
  const PollerCounters& counted = runner->poller().counters();
  const std::array<double, 7> values{
      static_cast<double>(counted.polls),
      static_cast<double>(counted.wakeUps),
      static_cast<double>(counted.events),
      static_cast<double>(counted.orphanEvents),
      static_cast<double>(counted.timersFired),
      static_cast<double>(counted.systemCalls),
      runner->busyMs(),
  };
  std::ranges::copy_n(values.begin(),
                      static_cast<std::ptrdiff_t>(std::min(values.size(), target.size())),
                      target.begin());
  return nullptr;
}

/** (): a settle outside a turn, or one of a manual turn, is done. */
napi_value noteSettled(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  if (auto* wrap = arguments.self<PollerWrap>(); wrap != nullptr) wrap->settled();
  return nullptr;
}

napi_value closePoller(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  if (auto* wrap = arguments.self<PollerWrap>(); wrap != nullptr) wrap->close();
  return nullptr;
}

template <napi_callback call>
napi_property_descriptor hot(const char* name) noexcept {
  return {name, nullptr, call, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

/** On the backend of that name, or on a simulated network and its clock. */
Result<std::unique_ptr<Poller>> createPoller(Napi::Value source) {
  if (source.IsString()) {
    const BackendRow* row = findBackend(source.As<Napi::String>().Utf8Value());
    if (row != nullptr) return Poller::create(row->create);
  } else if (const std::shared_ptr<SimNetwork> network = simNetworkOf(source)) {
    return Poller::create([network] { return SimBackend::create(*network); },
                          [network] { return network->now(); });
  }
  return SysError{ENOSYS, "backend"};
}

}  // namespace

Napi::Function PollerWrap::define(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "Poller", {});
  if (constructor.IsEmpty()) return constructor;
  const napi_property_descriptor methods[] = {
      hot<add>("add"),           hot<runOnce>("runOnce"),     hot<noteSettled>("settled"),
      hot<counters>("counters"), hot<closePoller>("close"),   hot<modify>("modify"),
      hot<remove>("remove"),     hot<forget>("forget"),       hot<applyTimerOps>("applyTimerOps"),
      hot<time>("time"),         hot<timeoutMs>("timeoutMs"), hot<pollableFd>("pollableFd"),
  };
  napi_value prototype = nullptr;
  napi_get_named_property(env, constructor, "prototype", &prototype);
  napi_define_properties(env, prototype, std::size(methods), methods);
  return constructor;
}

// (backend or SimNetwork, drive, words, maxEvents, dispatch, settle, onClosed)
PollerWrap::PollerWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PollerWrap>(info) {
  const Napi::Env env = info.Env();
  // An environment that is ending refuses to wrap, and nobody would ever free what is made here.
  void* wrapped = nullptr;
  if (napi_unwrap(env, info.This(), &wrapped) != napi_ok) return;
  auto poller = createPoller(info[0]);
  if (!poller) {
    throwSystemError(env, poller.error());
    return;
  }
  runner_ = std::make_shared<TurnRunner>(
      std::move(*poller), info[2].As<Napi::Int32Array>(), info[3].As<Napi::Number>().Uint32Value(),
      info[4].As<Napi::Function>(), info[5].As<Napi::Function>());
  const std::string drive = info[1].As<Napi::String>().Utf8Value();
  if (drive == "manual") return;
  auto onClosed =
      std::make_shared<Napi::FunctionReference>(Napi::Persistent(info[6].As<Napi::Function>()));
  auto tellClosed = [onClosed] {
    const Napi::Env ours = onClosed->Env();
    const Napi::HandleScope handles(ours);
    // Refused where the environment is ending: nobody waits there any more.
    napi_make_callback(ours, nullptr, ours.Global(), onClosed->Value(), 0, nullptr, nullptr);
  };
  driver_ = drive == "node" ? createNodeDriver(env, runner_, tellClosed)
                            : createThreadDriver(env, runner_, tellClosed);
}

PollerWrap::~PollerWrap() {
  // A closed runner's driver frees itself, and may have: the environment's end closes it too.
  if (driver_ != nullptr && !runner_->closed()) driver_->close();
}

void PollerWrap::settled() {
  TurnRunner* open = runner();
  if (open == nullptr) return;
  open->arm();
  if (driver_ != nullptr)
    driver_->arrange(open->keepAlive(), open->again());
  else if (open->again())
    open->poller().wake();  // a manual turn's work makes its descriptor readable
}

void PollerWrap::close() {
  if (driver_ != nullptr && !runner_->closed()) driver_->close();
  if (runner_ != nullptr) runner_->close();
  driver_ = nullptr;
  runner_.reset();
}

void exportPollerClass(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = PollerWrap::define(env);
  // What is empty has no environment either, and using it would end the process.
  if (constructor.IsEmpty()) return;
  exports.Set("Poller", constructor);
}

}  // namespace ioloop
