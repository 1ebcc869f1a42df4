#include "binding/turn_runner.h"

#include <algorithm>
#include <chrono>

namespace ioloop {

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
      due_(kMaxDue) {}

Status TurnRunner::fill(Timeout timeout) noexcept {
  // Only now may the ids that the last turn fired come to mean other timers.
  for (const TimerId id : std::span(due_).first(dueCount_))
    if (!poller_->timers().pending(id)) poller_->timers().release(id);
  dueCount_ = 0;
  const auto counts = poller_->turn({ready_, due_}, timeout);
  words_[kReadyCount] = words_[kDueCount] = 0;
  words_[kTurns] = static_cast<std::int32_t>(poller_->counters().polls);
  if (!counts) return counts.error();
  dueCount_ = counts->due;
  words_[kReadyCount] = static_cast<std::int32_t>(counts->ready);
  words_[kDueCount] = static_cast<std::int32_t>(counts->due);
  for (std::size_t i = 0; i < counts->due; ++i) dueWords_[i] = static_cast<std::int32_t>(due_[i]);
  return {};
}

CallOutcome TurnRunner::run(Napi::Env env) {
  const Instant begin = poller_->now();
  words_[kInTurn] = 1;
  CallOutcome outcome = CallOutcome::returned;
  if (const Status status = fill(std::chrono::nanoseconds{0}); status && hasWork())
    outcome = call(env, dispatch_);
  for (int round = 0;
       outcome == CallOutcome::returned && words_[kWork] != 0 && round < kMaxSettleRounds; ++round)
    outcome = call(env, settle_);
  if (outcome != CallOutcome::returned) return outcome;
  words_[kInTurn] = 0;
  arm();
  addBusy(begin);
  return outcome;
}

CallOutcome TurnRunner::dispatchOnly(Napi::Env env) {
  const Instant begin = poller_->now();
  (void)fill(std::chrono::nanoseconds{0});
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
  napi_status status =
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
  return words_[kReadyCount] > 0 || words_[kDueCount] > 0 || words_[kCallbacks] > 0;
}

}  // namespace ioloop
