#include "binding/turn_runner.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "binding/milliseconds.h"

namespace ioloop {
namespace {

// More timers than memory holds.
constexpr double kMaxTimers = 1 << 30;

}  // namespace

TurnRunner::TurnRunner(std::unique_ptr<Poller> poller, Napi::Int32Array words,
                       std::size_t maxEvents, Napi::Function dispatch, Napi::Function settle)
    : poller_(std::move(poller)),
      memory_(Napi::Persistent(words)),
      dispatch_(Napi::Persistent(dispatch)),
      settle_(Napi::Persistent(settle)),
      resource_(Napi::Persistent(Napi::Object::New(words.Env()))),
      context_(std::make_unique<Napi::AsyncContext>(words.Env(), "IOLoop", resource_.Value())),
      // The memory is a SharedArrayBuffer's: it cannot be detached, and memory_ keeps it alive.
      words_(words.Data(), wordsFor(maxEvents)),
      ready_(reinterpret_cast<ReadyRow*>(words.Data() + kHeaderWords), maxEvents),
      dueWords_(words_.subspan(kHeaderWords + maxEvents * 3, kMaxDue)),
      // A SharedArrayBuffer's memory is aligned for any element type.
      timerLog_(reinterpret_cast<double*>(words.Data() + timerLogAt(maxEvents)), kMaxTimerOps * 2),
      due_(kMaxDue) {}

void TurnRunner::fill(Timeout timeout) noexcept {
  applyTimerOps();
  const TurnCounts counts = poller_->turn({ready_, due_}, timeout);
  words_[kReadyCount] = static_cast<std::int32_t>(counts.ready);
  words_[kDueCount] = static_cast<std::int32_t>(counts.due);
  words_[kWaitError] = counts.wait ? 0 : -counts.wait.error().code;
  for (std::size_t i = 0; i < counts.due; ++i) dueWords_[i] = static_cast<std::int32_t>(due_[i]);
}

CallOutcome TurnRunner::run(Napi::Env env) {
  const Instant begin = poller_->now();
  words_[kInTurn] = 1;
  CallOutcome outcome = CallOutcome::returned;
  fill(std::chrono::nanoseconds{0});
  if (hasWork()) outcome = call(env, dispatch_);
  for (int round = 0;
       outcome == CallOutcome::returned && words_[kWork] != 0 && round < kMaxSettleRounds; ++round)
    outcome = call(env, settle_);
  if (outcome != CallOutcome::returned) return outcome;
  words_[kInTurn] = 0;
  arm();
  addBusy(begin);
  return outcome;
}

void TurnRunner::arm() noexcept {
  applyTimerOps();
  (void)poller_->armEarliest();
}

void TurnRunner::applyTimerOps() noexcept {
  const auto noted = static_cast<std::size_t>(std::max(words_[kTimerOps], 0));
  words_[kTimerOps] = 0;
  TimerHeap& timers = poller_->timers();
  for (std::size_t op = 0; op < std::min(noted, kMaxTimerOps); ++op) {
    const double whenMs = timerLog_[op * 2];
    const double id = timerLog_[op * 2 + 1];
    // The memory is JavaScript's as well: what makes no sense is no operation.
    if (!(id >= 0 && id < kMaxTimers)) continue;
    if (std::isnan(whenMs))
      timers.remove(static_cast<TimerId>(id));
    else
      timers.put(static_cast<TimerId>(id), instantAt(whenMs));
  }
}

CallOutcome TurnRunner::dispatchOnly(Napi::Env env) {
  const Instant begin = poller_->now();
  fill(std::chrono::nanoseconds{0});
  const CallOutcome outcome = call(env, dispatch_);
  if (outcome == CallOutcome::returned) addBusy(begin);
  return outcome;
}

void TurnRunner::release() {
  closed_ = true;
  context_.reset();
  resource_.Reset();
  dispatch_.Reset();
  settle_.Reset();
  words_ = {};
  memory_.Reset();
}

CallOutcome TurnRunner::call(Napi::Env env, const Napi::FunctionReference& function) {
  const Napi::HandleScope handles(env);
  napi_callback_scope scope = nullptr;
  napi_open_callback_scope(env, resource_.Value(), *context_, &scope);
  napi_value result = nullptr;
  const napi_status status =
      napi_call_function(env, resource_.Value(), function.Value(), 0, nullptr, &result);
  napi_value exception = nullptr;
  bool pending = false;
  napi_is_exception_pending(env, &pending);
  // The dispatcher catches what handlers throw; what still arrives here broke the dispatcher
  // itself (no stack left), and the process hears of it as of any uncaught exception.
  if (pending && napi_get_and_clear_last_exception(env, &exception) == napi_ok)
    napi_fatal_exception(env, exception);
  // Closing the outermost scope runs ticks and microtasks.
  if (scope != nullptr) napi_close_callback_scope(env, scope);
  if (closed_) return CallOutcome::closed;
  return status == napi_ok || pending ? CallOutcome::returned : CallOutcome::ending;
}

void TurnRunner::addBusy(Instant begin) {
  busyMs_ += std::chrono::duration<double, std::milli>(poller_->now() - begin).count();
}

bool TurnRunner::hasWork() const noexcept {
  return words_[kReadyCount] > 0 || words_[kDueCount] > 0 || words_[kCallbacks] > 0 ||
         words_[kWaitError] != 0;
}

}  // namespace ioloop
