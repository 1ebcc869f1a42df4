#include <napi.h>

#include "binding/environment.h"
#include "binding/functions.h"
#include "binding/node_driver.h"
#include "binding/turn_runner.h"
#include "binding/waker_registry.h"
#include "core/backends.h"
#include "core/memory_budget.h"
#include "core/sys.h"

namespace ioloop {

namespace {

std::pair<dev_t, ino_t> fileOf(int fd) noexcept {
  struct stat status{};
  return sys().fstat(fd, &status) < 0 ? std::pair<dev_t, ino_t>{}
                                      : std::pair{status.st_dev, status.st_ino};
}

}  // namespace

int Environment::keep(UniqueFd fd) {
  const int number = fd.release();
  descriptors.insert_or_assign(number, fileOf(number));
  return number;
}

Environment::~Environment() {
  for (const auto& [fd, file] : descriptors)
    if (fileOf(fd) == file) sys().close(fd);
  streams.forEach([](int fd) { sys().close(fd); });
  MemoryBudget::ofProcess().add(-memoryHeld);
  for (const std::uint32_t waker : wakers) WakerRegistry::close(waker);
}

namespace {

/** (error): an uncaught exception, at once. */
napi_value reportFatal(napi_env env, napi_callback_info info) {
  std::size_t count = 1;
  napi_value error = nullptr;
  if (napi_get_cb_info(env, info, &count, &error, nullptr, nullptr) == napi_ok)
    napi_fatal_exception(env, error);
  return nullptr;
}

Napi::Object initialize(Napi::Env env, Napi::Object exports) {
  env.SetInstanceData(new Environment);
  Environment::of(env).hasLibuv = hasLibuv(env);
  const Napi::Array names = Napi::Array::New(env);
  for (const BackendRow& row : backends())
    names.Set(names.Length(), Napi::String::New(env, row.name.data(), row.name.size()));
  exports.Set("backends", names);
  exports.Set("hasLibuv", Environment::of(env).hasLibuv);
  exportHot(env, exports, "reportFatal", reportFatal);
  exportPollerClass(env, exports);
  exportSimNetworkClass(env, exports);
  exportWakerFunctions(env, exports);
  exportSocketFunctions(env, exports);
  exportStreamFunctions(env, exports);
  exportDatagramFunctions(env, exports);
  exportSocketOptionFunctions(env, exports);
  exportMemoryFunctions(env, exports);
  exportInotifyFunctions(env, exports);
#if defined(IOLOOP_FAULTS)
  exportFaultFunctions(env, exports);
#endif
  return exports;
}

}  // namespace
}  // namespace ioloop

static Napi::Object initializeAddon(Napi::Env env, Napi::Object exports) {
  return ioloop::initialize(env, exports);
}

NODE_API_MODULE(ioloop, initializeAddon)
