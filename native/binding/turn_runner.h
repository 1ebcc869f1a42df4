#pragma once

#include <napi.h>

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "core/poller.h"

namespace ioloop {

/** What became of a call into JavaScript. */
enum class CallOutcome {
  returned,
  closed,  // the loop was closed by it: touch nothing
  ending,  // the environment is going away: stop the handles
};

/**
 * Runs the turns of one loop: lets the poller fill the tables that both sides share, calls the
 * dispatcher, lets Node flush ticks and microtasks, and settles.
 *
 * Outlives the JavaScript object it serves; never runs inside itself.
 */
class TurnRunner {
 public:
  /** The 32-bit words at the head of the shared memory; src/native-loop.ts has the same list. */
  enum Word : std::size_t {
    kReadyCount,  // filled by a turn
    kDueCount,    // filled by a turn
    kWaitError,   // filled by a turn: 0, or -errno of a wait that failed and found nothing
    kInTurn,      // 1 from dispatch until the turn has settled
    kCallbacks,   // callbacks that wait for the next turn
    kReferences,  // what keeps the process alive
    kWork,        // not 0: settle has errors, pauses or streams to see to
    kDetached,    // not 0: loop.unref() was called
    kTimerOps,    // operations in the timer log
    kHeaderWords = 16,
  };
  /** Due timers that one turn fires at most; the rest are due in the next. */
  static constexpr std::size_t kMaxDue = 1024;
  /** Operations on timers that JavaScript notes before it has them carried out. */
  static constexpr std::size_t kMaxTimerOps = 1024;
  /** Rounds of settling before what is still written waits for the next turn. */
  static constexpr int kMaxSettleRounds = 16;

  /** Where the rows of the timer log begin: (deadline, id) as doubles, so at an even word. */
  static constexpr std::size_t timerLogAt(std::size_t maxEvents) noexcept {
    return (kHeaderWords + maxEvents * 3 + kMaxDue + 1) / 2 * 2;
  }
  /** Words a loop with `maxEvents` rows needs. */
  static constexpr std::size_t wordsFor(std::size_t maxEvents) noexcept {
    return timerLogAt(maxEvents) + kMaxTimerOps * 4;
  }

  TurnRunner(std::unique_ptr<Poller> poller, Napi::Int32Array words, std::size_t maxEvents,
             Napi::Function dispatch, Napi::Function settle);

  Poller& poller() noexcept { return *poller_; }
  bool inTurn() const noexcept { return words_[kInTurn] != 0; }
  bool closed() const noexcept { return closed_; }
  bool keepAlive() const noexcept { return words_[kReferences] > 0 && words_[kDetached] == 0; }
  bool again() const noexcept { return words_[kCallbacks] > 0 || words_[kWork] != 0; }

  /** Waits at most `timeout` and fills the tables. Calls no JavaScript. */
  void fill(Timeout timeout) noexcept;

  /** One whole turn, at the bottom of the stack: fill, dispatch, flush, settle. */
  CallOutcome run(Napi::Env env);

  /** Fill and dispatch alone, for a runtime that flushes by itself; JavaScript settles later. */
  CallOutcome dispatchOnly(Napi::Env env);

  /** Arms the earliest deadline. */
  void arm() noexcept;

  /**
   * Carries out what JavaScript has noted of its timers since the last time: making, moving and
   * cancelling one costs it no call.
   */
  void applyTimerOps() noexcept;

  /** No JavaScript is called after this. */
  void close() noexcept { closed_ = true; }

  /** Drops all that belongs to the environment, because that is about to end. */
  void release();

  /** Milliseconds spent in turns so far. */
  double busyMs() const noexcept { return busyMs_; }

 private:
  CallOutcome call(Napi::Env env, const Napi::FunctionReference& function);
  bool hasWork() const noexcept;
  void addBusy(Instant begin);

  std::unique_ptr<Poller> poller_;
  Napi::Reference<Napi::Int32Array> memory_;
  Napi::FunctionReference dispatch_;
  Napi::FunctionReference settle_;
  Napi::ObjectReference resource_;
  std::unique_ptr<Napi::AsyncContext> context_;
  std::span<std::int32_t> words_;
  std::span<ReadyRow> ready_;
  std::span<std::int32_t> dueWords_;
  std::span<double> timerLog_;
  std::vector<TimerId> due_;
  double busyMs_ = 0;
  bool closed_ = false;
};

}  // namespace ioloop
