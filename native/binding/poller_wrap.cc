#include "binding/poller_wrap.h"

#include <cmath>
#include <limits>
#include <string>

#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/errors.h"
#include "binding/functions.h"
#include "binding/node_driver.h"
#include "binding/thread_driver.h"
#include "core/backends.h"
#include "core/sys.h"

namespace ioloop {
namespace {

/** Milliseconds as nanoseconds, rounded up so that nothing is early; too many are the most. */
std::chrono::nanoseconds fromMilliseconds(double milliseconds) noexcept {
  using std::chrono::nanoseconds;
  const double count = std::ceil(milliseconds * 1e6);
  if (!(count > 0)) return nanoseconds{0};
  // 2^62: far enough below the most for a sum with the clock.
  constexpr double kMost = 4611686018427387904.0;
  return count >= kMost ? nanoseconds{static_cast<std::int64_t>(kMost)}
                        : nanoseconds{static_cast<std::int64_t>(count)};
}

double toMilliseconds(std::chrono::nanoseconds duration) noexcept {
  return static_cast<double>(duration.count()) / 1e6;
}

Instant deadlineAfter(const Poller& poller, double delayMs) noexcept {
  return std::isinf(delayMs) && delayMs > 0 ? kNever : poller.now() + fromMilliseconds(delayMs);
}

/** The poller behind `this`, nullptr once it is closed. */
template <std::size_t N>
Poller* pollerOf(const Arguments<N>& arguments) noexcept {
  const auto* wrap = arguments.template self<PollerWrap>();
  return wrap == nullptr || wrap->runner() == nullptr ? nullptr : &wrap->runner()->poller();
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

napi_value schedule(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  if (poller == nullptr) return toNumber(env, kClosed);
  const Instant deadline = deadlineAfter(*poller, arguments.number(0).value_or(0));
  return toNumber(env, static_cast<std::int32_t>(poller->timers().schedule(deadline)));
}

napi_value scheduleAt(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  if (poller == nullptr) return toNumber(env, kClosed);
  const double when = arguments.number(0).value_or(0);
  const Instant deadline = std::isinf(when) && when > 0 ? kNever : Instant{fromMilliseconds(when)};
  return toNumber(env, static_cast<std::int32_t>(poller->timers().schedule(deadline)));
}

napi_value reschedule(napi_env env, napi_callback_info info) {
  const Arguments<2> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  const auto id = arguments.uint32(0);
  if (poller == nullptr || !id || !poller->timers().pending(*id)) return toBoolean(env, false);
  poller->timers().reschedule(*id, deadlineAfter(*poller, arguments.number(1).value_or(0)));
  return toBoolean(env, true);
}

napi_value cancel(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  Poller* poller = pollerOf(arguments);
  const auto id = arguments.uint32(0);
  // One that is due in this turn is released by the next.
  if (poller != nullptr && id && poller->timers().pending(*id)) poller->timers().release(*id);
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
  const Poller* poller = pollerOf(arguments);
  const Timeout timeout = poller == nullptr ? std::nullopt : poller->untilDeadline();
  return toNumber(env,
                  timeout ? toMilliseconds(*timeout) : std::numeric_limits<double>::infinity());
}

napi_value pollableFd(napi_env env, napi_callback_info info) {
  const Arguments<0> arguments(env, info);
  const Poller* poller = pollerOf(arguments);
  return toNumber(env, poller == nullptr ? -1 : poller->pollableFd());
}

template <napi_callback call>
napi_property_descriptor hot(const char* name) noexcept {
  return {name, nullptr, call, nullptr, nullptr, nullptr, napi_default_method, nullptr};
}

}  // namespace

Napi::Function PollerWrap::define(Napi::Env env) {
  Napi::Function constructor = DefineClass(env, "Poller",
                                           {
                                               InstanceMethod<&PollerWrap::runOnce>("runOnce"),
                                               InstanceMethod<&PollerWrap::settled>("settled"),
                                               InstanceMethod<&PollerWrap::counters>("counters"),
                                               InstanceMethod<&PollerWrap::close>("close"),
                                           });
  const napi_property_descriptor methods[] = {
      hot<add>("add"),
      hot<modify>("modify"),
      hot<remove>("remove"),
      hot<schedule>("schedule"),
      hot<scheduleAt>("scheduleAt"),
      hot<reschedule>("reschedule"),
      hot<cancel>("cancel"),
      hot<time>("time"),
      hot<timeoutMs>("timeoutMs"),
      hot<pollableFd>("pollableFd"),
  };
  napi_define_properties(env, constructor.Get("prototype"), std::size(methods), methods);
  return constructor;
}

// (backend, drive, words, maxEvents, dispatch, settle, onClosed)
PollerWrap::PollerWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<PollerWrap>(info) {
  const Napi::Env env = info.Env();
  const BackendRow* row = findBackend(info[0].As<Napi::String>().Utf8Value());
  auto poller = row == nullptr ? Result<std::unique_ptr<Poller>>(SysError{ENOSYS, "backend"})
                               : Poller::create(row->create);
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

// (timeoutMs): the wait of a manual turn; 0 or -errno.
Napi::Value PollerWrap::runOnce(const Napi::CallbackInfo& info) {
  const double timeoutMs = info[0].As<Napi::Number>().DoubleValue();
  if (runner_ == nullptr) return Napi::Number::New(info.Env(), kClosed);
  Timeout timeout = fromMilliseconds(timeoutMs);
  if (std::isinf(timeoutMs)) timeout.reset();
  if (!timeout || timeout->count() > 0) {
    // What happens in Node's own loop ends the wait: worker.terminate() and process.exit() of
    // another thread arrive there.
    if (const Status status = runner_->poller().interruptOn(libuvBackendFd(info.Env())); !status)
      return Napi::Number::New(info.Env(), toNegative(status.error()));
  }
  const Status status = runner_->fill(timeout);
  return Napi::Number::New(info.Env(), status ? 0 : toNegative(status.error()));
}

// (): a settle outside a turn, or one of a manual turn, is done.
Napi::Value PollerWrap::settled(const Napi::CallbackInfo&) {
  if (runner_ == nullptr || runner_->closed()) return {};
  runner_->arm();
  if (driver_ != nullptr)
    driver_->arrange(runner_->keepAlive(), runner_->again());
  else if (runner_->again())
    runner_->poller().wake();  // a manual turn's work makes its descriptor readable
  return {};
}

// (Float64Array): fills in the poller's counters, in the order of src/native.ts.
Napi::Value PollerWrap::counters(const Napi::CallbackInfo& info) {
  auto target = info[0].As<Napi::Float64Array>();
  if (runner_ == nullptr || target.ElementLength() < 9) return {};
  const PollerCounters& counters = runner_->poller().counters();
  double* out = target.Data();
  *out++ = static_cast<double>(counters.polls);
  *out++ = static_cast<double>(counters.wakeUps);
  *out++ = static_cast<double>(counters.events);
  *out++ = static_cast<double>(counters.orphanEvents);
  *out++ = static_cast<double>(counters.timersFired);
  *out++ = static_cast<double>(counters.systemCalls);
  *out++ = static_cast<double>(counters.rebuilds);
  *out++ = runner_->busyMs();
  *out++ = static_cast<double>(runner_->poller().timers().size());
  return {};
}

Napi::Value PollerWrap::close(const Napi::CallbackInfo&) {
  if (runner_ == nullptr) return {};
  if (driver_ != nullptr && !runner_->closed()) driver_->close();
  runner_->close();
  driver_ = nullptr;
  runner_.reset();
  return {};
}

void exportPollerClass(Napi::Env env, Napi::Object exports) {
  const Napi::Function constructor = PollerWrap::define(env);
  Environment::of(env).pollerClass = Napi::Persistent(constructor);
  exports.Set("Poller", constructor);
}

}  // namespace ioloop
