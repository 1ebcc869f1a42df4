#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "binding/driver.h"
#include "binding/turn_runner.h"

namespace ioloop {

/** Whether this runtime has libuv's functions and they work. Where not, ThreadDriver serves. */
bool hasLibuv(Napi::Env env);

/** libuv's backend descriptor, -1 where there is none: readable when Node's own loop has events. */
int libuvBackendFd(Napi::Env env) noexcept;

/**
 * Lets Node's own loop sleep for us: the poller's descriptor stands in a uv_poll_t, and each of its
 * callbacks is one turn. libuv is level-triggered and calls again in its next pass, so Node's
 * handles, timers and immediates run between any two turns.
 *
 * `onClosed` is called once the handles are closed and the poller is gone, unless the environment
 * went first. Null, with a pending exception, when libuv refuses.
 */
Driver* createNodeDriver(Napi::Env env, std::shared_ptr<TurnRunner> runner,
                         std::function<void()> onClosed);

}  // namespace ioloop
