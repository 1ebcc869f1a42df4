#pragma once

#include <napi.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/unique_fd.h"

namespace ioloop {

/**
 * What the addon keeps for one environment (the main thread, or one worker): nothing is kept
 * anywhere else. It ends with the environment, and closes what that left open.
 */
struct Environment {
  /** Whether Node's own loop can drive ours: hasLibuv(). */
  bool hasLibuv = false;
  /**
   * Where recv and send leave their result: making a JavaScript number costs a third of such a
   * call, and reading a word costs nothing. Memory of `resultMemory`, which src/native.ts never
   * gives away.
   */
  std::int32_t* result = nullptr;
  Napi::Reference<Napi::Int32Array> resultMemory;
  /**
   * Descriptors that ioloop/raw made here and closeFd() has not closed, each with the file it
   * stands for: a number that was closed by other means may be somebody else's by now.
   */
  std::unordered_map<int, std::pair<dev_t, ino_t>> descriptors;
  /** Wakers that were made here. */
  std::unordered_set<std::uint32_t> wakers;

  Environment() = default;
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;
  ~Environment();

  static Environment& of(Napi::Env env) noexcept { return *env.GetInstanceData<Environment>(); }

  /** Takes `fd` into the list and returns its number. */
  int keep(UniqueFd fd);
};

}  // namespace ioloop
