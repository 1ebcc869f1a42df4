#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "binding/driver.h"
#include "binding/turn_runner.h"

namespace ioloop {

/**
 * The driver for runtimes without libuv: a helper thread sleeps on the poller's descriptor and
 * calls a turn through a threadsafe function. Nothing but Node-API.
 *
 * The thread and the loop take turns: after waking the loop it waits until arrange() says that the
 * turn has settled. `onClosed` is called when the thread has ended and the poller is gone.
 */
Driver* createThreadDriver(Napi::Env env, std::shared_ptr<TurnRunner> runner,
                           std::function<void()> onClosed);

}  // namespace ioloop
