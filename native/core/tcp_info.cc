#include "core/tcp_info.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <span>

#include "core/socket_options.h"

namespace ioloop {

#if defined(__linux__)

namespace {

struct Field {
  const char* name;  // nullptr: of no use
  std::size_t size;
};

// struct tcp_info of linux/tcp.h, which does not go together with netinet/tcp.h, whose own ends
// where glibc's authors stopped. The kernel only ever appends to it, each field at a multiple of
// its size.
constexpr Field kFields[] = {
    {"state", 1},
    {"congestionState", 1},
    {"retransmits", 1},
    {"probes", 1},
    {"backoff", 1},
    {nullptr, 3},  // options negotiated, window scales and other bits
    {"rtoUs", 4},
    {"atoUs", 4},
    {"sendMss", 4},
    {"receiveMss", 4},
    {"unacked", 4},
    {"sacked", 4},
    {"lost", 4},
    {"retrans", 4},
    {nullptr, 4},  // fackets: gone
    {"lastDataSentMs", 4},
    {nullptr, 4},  // last_ack_sent: never filled in
    {"lastDataReceivedMs", 4},
    {"lastAckReceivedMs", 4},
    {"pathMtu", 4},
    {"receiveSsthresh", 4},
    {"rttUs", 4},
    {"rttVarUs", 4},
    {"sendSsthresh", 4},
    {"sendCwnd", 4},
    {"advertisedMss", 4},
    {"reordering", 4},
    {"receiveRttUs", 4},
    {"receiveSpace", 4},
    {"retransTotal", 4},
    {"pacingRate", 8},
    {"maxPacingRate", 8},
    {"bytesAcked", 8},
    {"bytesReceived", 8},
    {"segmentsOut", 4},
    {"segmentsIn", 4},
    {"notSentBytes", 4},
    {"minRttUs", 4},
    {"dataSegmentsIn", 4},
    {"dataSegmentsOut", 4},
    {"deliveryRate", 8},
    {"busyUs", 8},
    {"receiveWindowLimitedUs", 8},
    {"sendBufferLimitedUs", 8},
    {"delivered", 4},
    {"deliveredCe", 4},
    {"bytesSent", 8},
    {"bytesRetransmitted", 8},
    {"duplicateSacks", 4},
    {"reorderSeen", 4},
    {"receiveOutOfOrder", 4},
    {"sendWindow", 4},
    {"receiveWindow", 4},
    {"rehashes", 4},
};

std::uint64_t readNumber(std::span<const std::byte> bytes) noexcept {
  std::uint64_t wide = 0;
  std::uint32_t word = 0;
  if (bytes.size() == sizeof wide) {
    std::memcpy(&wide, bytes.data(), sizeof wide);
    return wide;
  }
  if (bytes.size() == 1) return std::to_integer<std::uint64_t>(bytes[0]);
  std::memcpy(&word, bytes.data(), sizeof word);
  return word;
}

}  // namespace

Result<std::vector<TcpInfoField>> tcpInfo(int fd) noexcept {
  std::array<std::byte, 512> info;
  const auto size = getSocketOption(fd, IPPROTO_TCP, TCP_INFO, info);
  if (!size) return size.error();
  std::vector<TcpInfoField> fields;
  std::size_t offset = 0;
  for (const Field& field : kFields) {
    if (offset + field.size > *size) break;
    if (field.name != nullptr)
      fields.push_back({field.name, readNumber(std::span(info).subspan(offset, field.size))});
    offset += field.size;
  }
  return fields;
}

#else

Result<std::vector<TcpInfoField>> tcpInfo(int) noexcept { return SysError{ENOTSUP, "getsockopt"}; }

#endif

}  // namespace ioloop
