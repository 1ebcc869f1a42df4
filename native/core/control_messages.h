#pragma once

#include <sys/socket.h>

namespace ioloop {

/** Calls `visit(const cmsghdr&)` for what came along with `message`, in order: cmsg(3). */
template <typename Visit>
void forEachControl(msghdr& message, Visit visit) noexcept {
// musl's CMSG_NXTHDR compares a size with a difference.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-compare"
  for (cmsghdr* each = CMSG_FIRSTHDR(&message); each != nullptr; each = CMSG_NXTHDR(&message, each))
    visit(*each);
#pragma GCC diagnostic pop
}

}  // namespace ioloop
