#pragma once

#include <napi.h>

#include <cstdint>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/descriptor_set.h"
#include "core/socket.h"
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
  /** Whom the last acceptStream() accepted. Memory of `peerMemory`, as that of `result` is. */
  Peer* peer = nullptr;
  Napi::Reference<Napi::Int32Array> peerMemory;
  /** Descriptors of streams and servers. They close by no other door, so a number says it all. */
  DescriptorSet streams;
  /** What streams of this environment have added to the process's MemoryBudget. */
  std::int64_t memoryHeld = 0;
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
  /** The same for a stream's. */
  int keepStream(UniqueFd fd) {
    streams.insert(fd.get());
    return fd.release();
  }
};

}  // namespace ioloop
