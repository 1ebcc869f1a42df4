#pragma once

namespace ioloop {

/** Gives a loop its turns: by Node's own libuv loop, by a helper thread, or not at all (manual). */
class Driver {
 public:
  virtual ~Driver() = default;

  /**
   * What the loop wants until its next turn: to keep the process alive, and to be called again
   * without sleeping. Called when a turn has settled.
   */
  virtual void arrange(bool keepAlive, bool again) = 0;

  /** Gives no turn any more; the driver frees itself when its handles are closed. */
  virtual void close() = 0;
};

}  // namespace ioloop
