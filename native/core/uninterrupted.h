#pragma once

#include <cerrno>

namespace ioloop {

/** Makes `call` until no signal interrupts it. */
template <typename Call>
auto uninterrupted(Call call) noexcept {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace ioloop
