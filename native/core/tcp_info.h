#pragma once

#include <cstdint>
#include <vector>

#include "core/result.h"

namespace ioloop {

/** One thing that the kernel knows of a TCP connection. */
struct TcpInfoField {
  const char* name;  // in camelCase; ends in Us or Ms where it is a time
  std::uint64_t value;
};

/**
 * What the kernel knows of a TCP connection (TCP_INFO, tcp(7)): as many fields as this kernel has.
 * ENOTSUP on systems other than Linux.
 */
Result<std::vector<TcpInfoField>> tcpInfo(int fd) noexcept;

}  // namespace ioloop
