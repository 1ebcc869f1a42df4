#if defined(__APPLE__)
#define __APPLE_USE_RFC_3542  // IPV6_PKTINFO and its kin: ip6(4)
#endif

#include "core/datagram_control.h"

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/time.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/control_messages.h"
#include "core/datagram_name.h"

namespace ioloop {
namespace {

constexpr int kEcnMask = 3;  // of the byte that was called TOS: RFC 3168, section 5

std::size_t sizeOf(const cmsghdr& message) noexcept { return message.cmsg_len - CMSG_LEN(0); }

/** What a control message holds; zeros where it was cut off. */
template <typename T>
T valueOf(const cmsghdr& message) noexcept {
  T value{};
  std::memcpy(&value, CMSG_DATA(&message), std::min(sizeOf(message), sizeof value));
  return value;
}

/** An int, or the byte that some send in its place. */
int numberOf(const cmsghdr& message) noexcept {
  return sizeOf(message) < sizeof(int) ? valueOf<std::uint8_t>(message) : valueOf<int>(message);
}

DatagramRow::Info& infoOf(DatagramRow& row) noexcept {
  if ((row.flags & DatagramRow::kInfo) == 0) row.info = {};
  row.flags |= DatagramRow::kInfo;
  return row.info;
}

void putLocal(DatagramRow& row, const DatagramRow::Words& address, std::uint32_t scope) noexcept {
  row.flags |= DatagramRow::kLocal;
  row.localAddress = address;
  row.localScope = static_cast<std::int32_t>(scope);
}

void putTimestamp(DatagramRow& row, std::int64_t seconds, std::int64_t nanoseconds) noexcept {
  const std::int64_t time = (seconds * 1'000'000'000) + nanoseconds;
  infoOf(row).timestamp = {static_cast<std::int32_t>(time), static_cast<std::int32_t>(time >> 32)};
}

#if defined(IP_PKTINFO)
void readPacketInfo(const in_pktinfo& info, DatagramRow& row) noexcept {
  DatagramRow::Words words{toWords(info.ipi_spec_dst)[0], toWords(info.ipi_addr)[0]};
  // From an IPv4 peer of a socket of both stacks: the address is mapped, as the peer's is.
  if (row.family == DatagramRow::kInet6) words = {0, 0, 0xffff, words[0]};
  putLocal(row, words, static_cast<std::uint32_t>(info.ipi_ifindex));
}
#endif

void readInet4(const cmsghdr& message, DatagramRow& row) noexcept {
  switch (message.cmsg_type) {
#if defined(IP_PKTINFO)
    case IP_PKTINFO:
      return readPacketInfo(valueOf<in_pktinfo>(message), row);
#elif defined(IP_RECVDSTADDR)
    case IP_RECVDSTADDR: {
      const std::int32_t word = toWords(valueOf<in_addr>(message))[0];
      return putLocal(row, {word, word}, 0);
    }
#endif
      // Linux names the messages by what they hold, the BSDs by the option that asked for them.
#if defined(__linux__)
    case IP_TOS:
#else
    case IP_RECVTOS:
#endif
      infoOf(row).ecn = numberOf(message) & kEcnMask;
      return;
#if defined(__linux__)
    case IP_TTL:
#else
    case IP_RECVTTL:
#endif
      infoOf(row).ttl = numberOf(message);
      return;
    default:
      return;
  }
}

void readInet6(const cmsghdr& message, DatagramRow& row) noexcept {
  switch (message.cmsg_type) {
    case IPV6_PKTINFO: {
      const auto info = valueOf<in6_pktinfo>(message);
      return putLocal(row, toWords(info.ipi6_addr), static_cast<std::uint32_t>(info.ipi6_ifindex));
    }
    case IPV6_TCLASS:
      infoOf(row).ecn = numberOf(message) & kEcnMask;
      return;
    case IPV6_HOPLIMIT:
      infoOf(row).ttl = numberOf(message);
      return;
    default:
      return;
  }
}

void readUdp([[maybe_unused]] const cmsghdr& message, [[maybe_unused]] DatagramRow& row) noexcept {
#if defined(UDP_GRO)
  if (message.cmsg_type != UDP_GRO) return;
  const int segment = numberOf(message);
  if (segment < row.size) row.segment = segment;
#endif
}

void readRights(const cmsghdr& message, DatagramRow& row, std::span<int> fds) noexcept {
  const auto taken = static_cast<std::size_t>(row.fdCount);
  const std::size_t added = takeRights(message, fds.subspan(taken));
  row.fdCount = static_cast<std::int32_t>(taken + added);
  if (added < sizeOf(message) / sizeof(int)) row.flags |= DatagramRow::kControlTruncated;
}

void readSocket(const cmsghdr& message, DatagramRow& row, std::span<int> fds) noexcept {
  switch (message.cmsg_type) {
    case SCM_RIGHTS:
      return readRights(message, row, fds);
#if defined(SCM_CREDENTIALS)
    case SCM_CREDENTIALS: {
      const auto sender = valueOf<ucred>(message);
      row.flags |= DatagramRow::kCredentials;
      row.sender = {sender.pid, static_cast<std::int32_t>(sender.uid),
                    static_cast<std::int32_t>(sender.gid)};
      return;
    }
#endif
#if defined(SCM_TIMESTAMPNS)
    case SCM_TIMESTAMPNS: {
      const auto time = valueOf<timespec>(message);
      return putTimestamp(row, time.tv_sec, time.tv_nsec);
    }
#endif
    case SCM_TIMESTAMP: {
      const auto time = valueOf<timeval>(message);
      return putTimestamp(row, time.tv_sec, std::int64_t{time.tv_usec} * 1000);
    }
    default:
      return;
  }
}

/** Control messages one behind the other. */
class ControlWriter {
 public:
  explicit ControlWriter(std::span<std::byte> control) noexcept : control_(control) {}

  template <typename T>
  void put(int level, int type, const T& value) noexcept {
    const std::size_t space = CMSG_SPACE(sizeof value);
    // The padding goes to the kernel as well.
    std::memset(control_.data(), 0, space);
    auto& message = *reinterpret_cast<cmsghdr*>(control_.data());
    message.cmsg_len = static_cast<decltype(message.cmsg_len)>(CMSG_LEN(sizeof value));
    message.cmsg_level = level;
    message.cmsg_type = type;
    std::memcpy(CMSG_DATA(&message), &value, sizeof value);
    skip(space);
  }

  /** Whether they were put. */
  bool putFds(std::span<const int> fds) noexcept {
    const std::size_t space = putRights(control_, fds);
    skip(space);
    return space > 0;
  }

  std::size_t used() const noexcept { return used_; }

 private:
  void skip(std::size_t space) noexcept {
    control_ = control_.subspan(space);
    used_ += space;
  }

  std::span<std::byte> control_;
  std::size_t used_ = 0;
};

in6_pktinfo sourceOf(const DatagramRow& row) noexcept {
  in6_pktinfo info{};
  const auto scope = static_cast<decltype(info.ipi6_ifindex)>(row.localScope);
  const in6_addr address = toInet6(row.localAddress);
  if (IN6_IS_ADDR_MULTICAST(&address)) {  // nobody sends from a group: the interface alone counts
    info.ipi6_ifindex = scope;
  } else {
    info.ipi6_addr = address;
    if (IN6_IS_ADDR_LINKLOCAL(&address)) info.ipi6_ifindex = scope;
  }
  return info;
}

/** What `row` is sent from: 0, or an errno. */
int putSource(const DatagramRow& row, ControlWriter& control) noexcept {
  if (row.family == DatagramRow::kInet6) {
    control.put(IPPROTO_IPV6, IPV6_PKTINFO, sourceOf(row));
    return 0;
  }
  if (row.family != DatagramRow::kInet4) return EINVAL;
#if defined(IP_PKTINFO)
  in_pktinfo info{};
  info.ipi_spec_dst = toInet4(row.localAddress[0]);
  control.put(IPPROTO_IP, IP_PKTINFO, info);
  return 0;
#elif defined(IP_SENDSRCADDR)
  control.put(IPPROTO_IP, IP_SENDSRCADDR, toInet4(row.localAddress[0]));
  return 0;
#else
  return ENOPROTOOPT;
#endif
}

/** How `row` is cut: 0, or an errno. */
int putSegment(const DatagramRow& row, [[maybe_unused]] ControlWriter& control) noexcept {
  if (row.segment < 0 || row.segment > UINT16_MAX) return EINVAL;
#if defined(UDP_SEGMENT)
  control.put(IPPROTO_UDP, UDP_SEGMENT, static_cast<std::uint16_t>(row.segment));
  return 0;
#else
  return ENOPROTOOPT;
#endif
}

}  // namespace

void readControl(msghdr& message, DatagramRow& row, std::span<int> fds) noexcept {
  forEachControl(message, [&](const cmsghdr& each) {
    switch (each.cmsg_level) {
      case SOL_SOCKET:
        return readSocket(each, row, fds);
      case IPPROTO_IP:
        return readInet4(each, row);
      case IPPROTO_IPV6:
        return readInet6(each, row);
      case IPPROTO_UDP:
        return readUdp(each, row);
      default:
        return;
    }
  });
}

Result<std::size_t> writeControl(const DatagramRow& row, std::span<const int> fds,
                                 std::span<std::byte> control) noexcept {
  ControlWriter writer(control);
  int refused = 0;
  if ((row.flags & DatagramRow::kLocal) != 0) refused = putSource(row, writer);
  if (refused == 0 && row.segment != 0) refused = putSegment(row, writer);
  if (refused == 0 && !fds.empty() && !writer.putFds(fds)) refused = EINVAL;
  if (refused != 0) return SysError{refused, "sendmsg"};
  return writer.used();
}

}  // namespace ioloop
