#pragma once

#include <cstdint>
#include <string_view>

#include "core/result.h"

namespace ioloop {

/**
 * Multicast of IPv4 and IPv6 by number of interface: RFC 3678, ip(7), ipv6(7).
 *
 * An interface is given by its name ("eth0"), its number ("2") or one of its addresses; "": the
 * kernel chooses.
 */

/** The number of an interface, 0 for "". ENODEV, ENXIO: no such name; EADDRNOTAVAIL: no such
 * address. */
Result<std::uint32_t> interfaceNumber(std::string_view given) noexcept;

/** A group, and whose messages of it. */
struct Membership {
  /** An IP literal; its scope ("ff02::1%eth0") is the interface when no other is given. */
  std::string_view group;
  std::string_view interface;
  /** The one sender that is heard; "": all. */
  std::string_view source;
};

/** MCAST_JOIN_GROUP, MCAST_JOIN_SOURCE_GROUP. EINVAL: no such literal, or no group; EADDRINUSE:
 * joined. */
Status joinGroup(int fd, const Membership& membership) noexcept;
/** MCAST_LEAVE_GROUP, MCAST_LEAVE_SOURCE_GROUP. EADDRNOTAVAIL: not joined. */
Status leaveGroup(int fd, const Membership& membership) noexcept;

/** The interface that multicasts leave by; on a socket of both stacks those of IPv4 as well. */
Status setMulticastInterface(int fd, std::string_view given) noexcept;

}  // namespace ioloop
