// In test builds alone (IOLOOP_FAULTS): the fault injector, for test/support/faults.ts.

#include <memory>
#include <string>

#include "binding/functions.h"
#include "test/fault_injector.h"

namespace ioloop {
namespace {

/** The process's, as the table of system calls is. */
std::unique_ptr<FaultInjector> injector;

/** (seed): without faults so far. */
void install(const Napi::CallbackInfo& info) {
  injector.reset();
  injector = std::make_unique<FaultInjector>(
      static_cast<std::uint64_t>(info[0].As<Napi::Number>().Int64Value()));
  injector->seedThread(0);
}

void remove(const Napi::CallbackInfo&) { injector.reset(); }

/** The faults of the entry that the first argument names; throws where there is none. */
EntryFaults* entryOf(const Napi::CallbackInfo& info) {
  const std::string name = info[0].As<Napi::String>().Utf8Value();
  EntryFaults* faults = FaultInjector::find(name);
  if (faults == nullptr)
    Napi::Error::New(info.Env(), "no system call has the name " + name)
        .ThrowAsJavaScriptException();
  return faults;
}

double probabilityOf(const Napi::CallbackInfo& info) {
  return info[1].As<Napi::Number>().DoubleValue();
}

/** (entry, probability, errno) */
void failCalls(const Napi::CallbackInfo& info) {
  if (EntryFaults* faults = entryOf(info))
    faults->failRandomly(probabilityOf(info), info[2].As<Napi::Number>().Int32Value());
}

/** (entry, probability) */
void shortenCalls(const Napi::CallbackInfo& info) {
  if (EntryFaults* faults = entryOf(info)) faults->shortenRandomly(probabilityOf(info));
}

/** (entry, probability) */
void reorderEvents(const Napi::CallbackInfo& info) {
  if (EntryFaults* faults = entryOf(info)) faults->reorderRandomly(probabilityOf(info));
}

/** (entry, probability) */
void repeatEvents(const Napi::CallbackInfo& info) {
  if (EntryFaults* faults = entryOf(info)) faults->repeatRandomly(probabilityOf(info));
}

/** (entry): { calls, faults } */
Napi::Value countCalls(const Napi::CallbackInfo& info) {
  const EntryFaults* faults = entryOf(info);
  if (faults == nullptr) return {};
  Napi::Object counts = Napi::Object::New(info.Env());
  counts.Set("calls", static_cast<double>(faults->calls()));
  counts.Set("faults", static_cast<double>(faults->faults()));
  return counts;
}

}  // namespace

void exportFaultFunctions(Napi::Env env, Napi::Object exports) {
  Napi::Object faults = Napi::Object::New(env);
  faults.Set("install", Napi::Function::New(env, install, "install"));
  faults.Set("remove", Napi::Function::New(env, remove, "remove"));
  faults.Set("failCalls", Napi::Function::New(env, failCalls, "failCalls"));
  faults.Set("shortenCalls", Napi::Function::New(env, shortenCalls, "shortenCalls"));
  faults.Set("reorderEvents", Napi::Function::New(env, reorderEvents, "reorderEvents"));
  faults.Set("repeatEvents", Napi::Function::New(env, repeatEvents, "repeatEvents"));
  faults.Set("countCalls", Napi::Function::New(env, countCalls, "countCalls"));
  exports.Set("faults", faults);
}

}  // namespace ioloop
