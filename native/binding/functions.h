#pragma once

#include <napi.h>

namespace ioloop {

void exportPollerClass(Napi::Env env, Napi::Object exports);
void exportSimNetworkClass(Napi::Env env, Napi::Object exports);
void exportWakerFunctions(Napi::Env env, Napi::Object exports);
void exportSocketFunctions(Napi::Env env, Napi::Object exports);
void exportStreamFunctions(Napi::Env env, Napi::Object exports);
void exportDatagramFunctions(Napi::Env env, Napi::Object exports);
void exportSocketOptionFunctions(Napi::Env env, Napi::Object exports);
void exportMemoryFunctions(Napi::Env env, Napi::Object exports);
void exportInotifyFunctions(Napi::Env env, Napi::Object exports);
/** In test builds alone: fault_functions.cc. */
void exportFaultFunctions(Napi::Env env, Napi::Object exports);

/** Exports a function that reads its arguments, and `data`, by Arguments<N>. */
inline void exportHot(Napi::Env env, Napi::Object exports, const char* name, napi_callback call,
                      void* data = nullptr) {
  napi_value function = nullptr;
  napi_create_function(env, name, NAPI_AUTO_LENGTH, call, data, &function);
  exports.Set(name, Napi::Value(env, function));
}

}  // namespace ioloop
