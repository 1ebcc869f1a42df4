#pragma once

#include <napi.h>

#include <memory>

#include "core/sim/sim_network.h"

namespace ioloop {

/**
 * A SimNetwork for JavaScript, as src/native.ts declares it. The loops that are made on it own it
 * together with this: it goes when the last of them is closed.
 */
class SimNetworkWrap : public Napi::ObjectWrap<SimNetworkWrap> {
 public:
  static Napi::Function define(Napi::Env env);

  explicit SimNetworkWrap(const Napi::CallbackInfo& info);

  /** Nullptr once it is closed. */
  const std::shared_ptr<SimNetwork>& network() const noexcept { return network_; }
  void close() noexcept { network_.reset(); }

 private:
  std::shared_ptr<SimNetwork> network_;
};

/** The network behind what JavaScript holds, nullptr once it is closed. */
std::shared_ptr<SimNetwork> simNetworkOf(Napi::Value value);

}  // namespace ioloop
