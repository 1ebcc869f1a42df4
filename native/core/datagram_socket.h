#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <optional>

#include "core/address.h"
#include "core/datagram_row.h"
#include "core/result.h"
#include "core/unique_fd.h"

namespace ioloop {

/**
 * Sockets that keep message borders. Every descriptor that these make is non-blocking,
 * close-on-exec and raises no SIGPIPE.
 */
enum class DatagramKind : std::uint8_t { udp4, udp6, local, seqpacket };

/**
 * A socket that is neither bound nor connected.
 *
 * On Linux those of the Internet are told of ICMP errors (IP_RECVERR, ip(7)), which make them ready
 * for `priority` as well (SO_SELECT_ERR_QUEUE, socket(7)), and get no multicast but their own
 * groups' (IP_MULTICAST_ALL at 0); seqpacket ones are told who sent a message
 * (SO_PASSCRED, unix(7)), for which the kernel gives them an abstract name when they connect.
 */
Result<UniqueFd> openDatagram(DatagramKind kind) noexcept;

/** Two of the Unix domain that are connected to each other: socketpair(2). */
Result<std::array<UniqueFd, 2>> openDatagramPair(DatagramKind kind) noexcept;

/**
 * bind(2). A path has its mode before anybody can send to it, where fchmod(2) takes a socket (not
 * on macOS: there it gets it right after); nothing: what umask(2) makes of it.
 */
Status bindDatagram(int fd, const Address& address, std::optional<mode_t> mode) noexcept;

/** connect(2). ECONNREFUSED of a path: nobody is there any more; EAGAIN: its backlog is full. */
Status connectDatagram(int fd, const Address& address) noexcept;
/** connect(2) to nobody. The port stays the socket's. */
Status disconnectDatagram(int fd) noexcept;

/** A seqpacket socket that listens at a path: acceptSocket() and adoptDatagram() take it on. */
Result<UniqueFd> listenSeqpacket(const Address& address, int backlog,
                                 std::optional<mode_t> mode) noexcept;

/**
 * Makes somebody else's socket as openDatagram() makes them. ENOTSOCK; EINVAL: of another type, or
 * listening.
 */
Result<DatagramKind> adoptDatagram(int fd) noexcept;

/** What receiveDatagrams() may be asked to fill in: bits. */
enum WantedControl : std::uint8_t {
  kWantLocal = 1,
  kWantInfo = 2,
  kWantGro = 4,
  kWantCredentials = 8,
};
/**
 * Asks the kernel for it; what was asked for before stays so. ENOTSUP: this system has none of it
 * for such a socket; ENOPROTOOPT: this kernel has not.
 */
Status wantControl(int fd, unsigned int wanted) noexcept;

/**
 * Takes the next error that waits: 1, and in `row` its errno as `size` and, where that is known,
 * whom the datagram was sent to; 0: none waits; or -errno.
 *
 * It leaves out what the call that sent has answered itself.
 */
ssize_t receiveError(int fd, DatagramRow& row) noexcept;

/** Messages that the kernel dropped for want of room, modulo 2^32; 0 where it does not tell. */
std::uint32_t droppedByKernel(int fd) noexcept;

/** The process at the other end of a Unix connection when that was made. */
struct PeerCredentials {
  std::int64_t pid;  // -1: this system does not tell
  std::uint32_t uid;
  std::uint32_t gid;
};
/** ENOTCONN: there is none; of other sockets as well on Linux. */
Result<PeerCredentials> peerCredentials(int fd) noexcept;

/** What the kernel under us can do with datagrams. */
struct DatagramCapabilities {
  bool batches;
  bool udpSegment;
  bool udpGro;
  bool abstractNames;
  bool seqpacket;
  bool credentials;
  bool dropCounts;
};
/** Tried on sockets that are closed again. EMFILE and its kin: none could be made. */
Result<DatagramCapabilities> datagramCapabilities() noexcept;

}  // namespace ioloop
