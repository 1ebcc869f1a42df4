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
  /** The 32-bit words at the head of the shared memory; src/native.ts has the same list. */
  enum Word : std::size_t {
    kReadyCount,  // filled by a turn
    kDueCount,    // filled by a turn
    kInTurn,      // 1 from dispatch until the turn has settled
    kCallbacks,   // callbacks that wait for the next turn
    kReferences,  // what keeps the process alive
    kWork,        // not 0: settle has errors, pauses or streams to see to
    kDetached,    // not 0: loop.unref() was called
    kTurns,       // turns so far, modulo 2^32
    kHeaderWords = 16,
  };
  /** Due timers that one turn fires at most; the rest are due in the next. */
  static constexpr std::size_t kMaxDue = 1024;
  /** Rounds of settling before what is still written waits for the next turn. */
  static constexpr int kMaxSettleRounds = 16;

  /** Words a loop with `maxEvents` rows needs. */
  static constexpr std::size_t wordsFor(std::size_t maxEvents) noexcept {
    return kHeaderWords + maxEvents * 3 + kMaxDue;
  }

  TurnRunner(std::unique_ptr<Poller> poller, Napi::Int32Array words, std::size_t maxEvents,
             Napi::Function dispatch, Napi::Function settle);

  Poller& poller() noexcept { return *poller_; }
  bool inTurn() const noexcept { return words_[kInTurn] != 0; }
  bool closed() const noexcept { return closed_; }
  bool keepAlive() const noexcept { return words_[kReferences] > 0 && words_[kDetached] == 0; }
  bool again() const noexcept { return words_[kCallbacks] > 0 || words_[kWork] != 0; }

  /** Waits at most `timeout` and fills the tables. Calls no JavaScript. */
  Status fill(Timeout timeout) noexcept;

  /** One whole turn, at the bottom of the stack: fill, dispatch, flush, settle. */
  CallOutcome run(Napi::Env env);

  /** Fill and dispatch alone, for a runtime that flushes by itself; JavaScript settles later. */
  CallOutcome dispatchOnly(Napi::Env env);

  /** Arms the earliest deadline. */
  void arm() noexcept { (void)poller_->armEarliest(); }

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
  std::vector<TimerId> due_;
  std::size_t dueCount_ = 0;
  double busyMs_ = 0;
  bool closed_ = false;
};

}  // namespace ioloop
