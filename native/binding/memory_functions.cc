#include "binding/arguments.h"
#include "binding/environment.h"
#include "binding/functions.h"
#include "core/memory_budget.h"

namespace ioloop {
namespace {

/** ([limit]): the limit, set first if given. */
napi_value memoryBudget(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  MemoryBudget& budget = MemoryBudget::ofProcess();
  if (const auto limit = arguments.number(0)) budget.setLimit(static_cast<std::int64_t>(*limit));
  return toNumber(env, static_cast<double>(budget.limit()));
}

/** (delta): the total of the process. */
napi_value memoryAdd(napi_env env, napi_callback_info info) {
  const Arguments<1> arguments(env, info);
  const auto delta = static_cast<std::int64_t>(arguments.number(0).value_or(0));
  arguments.data<Environment>().memoryHeld += delta;
  return toNumber(env, static_cast<double>(MemoryBudget::ofProcess().add(delta)));
}

}  // namespace

void exportMemoryFunctions(Napi::Env env, Napi::Object exports) {
  exportHot(env, exports, "memoryBudget", memoryBudget);
  exportHot(env, exports, "memoryAdd", memoryAdd, &Environment::of(env));
}

}  // namespace ioloop
