#pragma once

#include <netinet/in.h>
#include <sys/un.h>

#include <cstddef>
#include <span>

#include "core/address.h"
#include "core/datagram_row.h"

namespace ioloop {

/** Where a message is from or goes to, as msg_name of recvmsg(2) has it. Not zeroed when made. */
union DatagramName {
  sockaddr any;
  sockaddr_in inet4;
  sockaddr_in6 inet6;
  sockaddr_un local;
};

/** The words of an IPv4 address, and the address that words say. */
DatagramRow::Words toWords(const in_addr& address) noexcept;
DatagramRow::Words toWords(const in6_addr& address) noexcept;
in_addr toInet4(std::int32_t word) noexcept;
in6_addr toInet6(const DatagramRow::Words& words) noexcept;

/**
 * Says in `row` whom a message is from; a name in the Unix domain goes to the start of `room`. One
 * that is unnamed, or has no room there, is nobody.
 */
void readName(const DatagramName& name, socklen_t size, DatagramRow& row,
              std::span<std::byte> room) noexcept;

/** Says in `row` where `address`, of the Internet, is. */
void readName(const Address& address, DatagramRow& row) noexcept;

/**
 * Makes `name` from what `row` says, with `local` as the name in the Unix domain: its size, 0 for
 * nobody. EINVAL: of no known family; ENAMETOOLONG.
 */
Result<socklen_t> writeName(const DatagramRow& row, std::span<const std::byte> local,
                            DatagramName& name) noexcept;

}  // namespace ioloop
