#pragma once

#include <napi.h>

#include "core/result.h"

namespace ioloop {

/** Throws an Error with `errno` (negative, as in Node) and `syscall`, for native.ts to dress. */
void throwSystemError(Napi::Env env, const SysError& error);

/** -errno, as the hot functions return it. */
constexpr int toNegative(const SysError& error) noexcept { return -error.code; }

}  // namespace ioloop
