#include "core/datagram.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "core/datagram_control.h"
#include "core/datagram_name.h"
#include "core/socket.h"
#include "core/sys.h"
#include "core/uninterrupted.h"

namespace ioloop {
namespace {

/**
 * What the kernel is handed. On the stack, and not zeroed: 64 messages of which one comes cost what
 * is written.
 */
struct Headers {
  std::array<mmsghdr, kMostDatagrams> messages;
  std::array<iovec, kMostDatagrams> parts;
  std::array<DatagramName, kMostDatagrams> names;
  // 64 times without descriptors, some 25 times with all of them.
  alignas(cmsghdr) std::array<std::byte, kMostDatagrams * 2 * kControlSpace> control;
};

template <auto Single>
int oneByOne(int fd, std::span<mmsghdr> messages, int flags) noexcept {
  int done = 0;
  for (mmsghdr& message : messages) {
    const ssize_t size =
        uninterrupted([&] { return (sys().*Single)(fd, &message.msg_hdr, flags); });
    if (size < 0) return done > 0 ? done : -1;
    message.msg_len = static_cast<decltype(message.msg_len)>(size);
    ++done;
  }
  return done;
}

template <auto Batch, auto Single>
int transfer(int fd, std::span<mmsghdr> messages, int flags) noexcept {
  const auto count = static_cast<unsigned int>(messages.size());
  const int done = uninterrupted([=] { return (sys().*Batch)(fd, messages.data(), count, flags); });
  return done >= 0 || errno != ENOSYS ? done : oneByOne<Single>(fd, messages, flags);
}

// --- Receiving ---

std::size_t roomFor(const DatagramTarget& target, std::size_t controlShare) noexcept {
  if (target.slotSize <= kSlotGap) return 0;
  const std::size_t room =
      std::min({kMostDatagrams, target.rows.size(), target.slab.size() / target.slotSize});
  if (target.fds.empty()) return room;
  return std::min(
      {room, target.fds.size() / kMaxPassedFds, sizeof(Headers::control) / controlShare});
}

void prepare(Headers& headers, std::size_t count, const DatagramTarget& target,
             std::size_t controlShare) noexcept {
  for (std::size_t place = 0; place < count; ++place) {
    headers.parts[place] = {target.slab.data() + (place * target.slotSize),
                            target.slotSize - kSlotGap};
    msghdr& header = headers.messages[place].msg_hdr;
    header = {};
    header.msg_name = &headers.names[place];
    header.msg_namelen = sizeof headers.names[place];
    header.msg_iov = &headers.parts[place];
    header.msg_iovlen = 1;
    header.msg_control = headers.control.data() + (place * controlShare);
    header.msg_controllen = static_cast<decltype(header.msg_controllen)>(controlShare);
  }
}

std::span<std::byte> nameRoom(std::span<std::byte> names, std::size_t place) noexcept {
  const auto rest = names.subspan(std::min(place * kNameSize, names.size()));
  return rest.first(std::min(kNameSize, rest.size()));
}

int flagsOf(const msghdr& header) noexcept {
  return ((header.msg_flags & MSG_TRUNC) != 0 ? DatagramRow::kTruncated : 0) |
         ((header.msg_flags & MSG_CTRUNC) != 0 ? DatagramRow::kControlTruncated : 0);
}

// --- Sending ---

template <typename T>
bool holds(std::span<T> whole, std::int32_t first, std::int32_t count) noexcept {
  return first >= 0 && count >= 0 && static_cast<std::size_t>(first) <= whole.size() &&
         static_cast<std::size_t>(count) <= whole.size() - static_cast<std::size_t>(first);
}

/** The part that holds() has found to be there. */
template <typename T>
std::span<T> part(std::span<T> whole, std::int32_t first, std::int32_t count) noexcept {
  return whole.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
}

/** Rows as the kernel takes them. */
class Outgoing {
 public:
  explicit Outgoing(const DatagramSource& source) noexcept : source_(source) {}

  /** 0, or the errno that says why `row` is not sent. */
  int add(const DatagramRow& row) noexcept {
    const std::int32_t nameSize = row.family == DatagramRow::kUnix ? row.port : 0;
    if (!holds(source_.bytes, row.offset, row.size) || nameSize < 0 || nameSize > row.offset)
      return EINVAL;
    if (!holds(source_.fds, row.firstFd, row.fdCount)) return EINVAL;
    const auto size = writeName(row, part(source_.bytes, row.offset - nameSize, nameSize),
                                headers_.names[count_]);
    if (!size) return size.error().code;
    const auto control = addControl(row);
    if (!control) return control.error().code;
    put(row, *size, *control);
    return 0;
  }

  std::span<mmsghdr> messages() noexcept { return std::span(headers_.messages).first(count_); }

 private:
  /** ENOBUFS: no room for what goes along, which the first row has. */
  Result<std::span<std::byte>> addControl(const DatagramRow& row) noexcept {
    if ((row.flags & DatagramRow::kLocal) == 0 && row.segment == 0 && row.fdCount == 0)
      return std::span<std::byte>();
    const auto room = std::span(headers_.control).subspan(controlUsed_);
    if (room.size() < (row.fdCount == 0 ? kControlSpace : kFullControlSpace))
      return SysError{ENOBUFS, "sendmsg"};
    const auto used = writeControl(row, part(source_.fds, row.firstFd, row.fdCount), room);
    if (!used) return used.error();
    controlUsed_ += *used;
    return room.first(*used);
  }

  void put(const DatagramRow& row, socklen_t nameSize, std::span<std::byte> control) noexcept {
    const auto data = part(source_.bytes, row.offset, row.size);
    // POSIX's type for what is only read.
    headers_.parts[count_] = {const_cast<std::byte*>(data.data()), data.size()};
    msghdr& header = headers_.messages[count_].msg_hdr;
    header = {};
    header.msg_name = nameSize > 0 ? &headers_.names[count_] : nullptr;
    header.msg_namelen = nameSize;
    header.msg_iov = &headers_.parts[count_];
    header.msg_iovlen = 1;
    header.msg_control = control.data();
    header.msg_controllen = static_cast<decltype(header.msg_controllen)>(control.size());
    ++count_;
  }

  const DatagramSource& source_;
  Headers headers_;
  std::size_t count_ = 0;
  std::size_t controlUsed_ = 0;
};

/** Whether a send failed with what may be ICMP's: the errno values of icmp_err_convert in Linux. */
bool mayBeIcmp([[maybe_unused]] int fd, [[maybe_unused]] int code) noexcept {
#if defined(__linux__)
  switch (code) {
    case ECONNREFUSED:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENONET:
    case ENOPROTOOPT:
    case EOPNOTSUPP:
    case EPROTO:
    case EACCES:
    case EMSGSIZE:
      // A peer in the Unix domain is told of once, and disconnected.
      return isInet(fd);
    default:
      return false;
  }
#else
  return false;
#endif
}

}  // namespace

ssize_t receiveDatagrams(int fd, const DatagramTarget& target) noexcept {
  const std::size_t share = target.fds.empty() ? kControlSpace : kFullControlSpace;
  const std::size_t count = roomFor(target, share);
  if (count == 0) return -EINVAL;
  Headers headers;
  prepare(headers, count, target, share);
  const int received = transfer<&SysTable::recvmmsg, &SysTable::recvmsg>(
      fd, std::span(headers.messages).first(count), MSG_DONTWAIT | kReceiveCloseOnExec);
  if (received < 0) return -errno;

  std::size_t fdsUsed = 0;
  for (std::size_t place = 0; place < static_cast<std::size_t>(received); ++place) {
    auto& [header, size] = headers.messages[place];
    DatagramRow& row = target.rows[place];
    row.offset = static_cast<std::int32_t>(place * target.slotSize);
    row.size = static_cast<std::int32_t>(size);
    row.flags = flagsOf(header);
    row.segment = 0;
    row.firstFd = static_cast<std::int32_t>(fdsUsed);
    row.fdCount = 0;
    readName(headers.names[place], header.msg_namelen, row, nameRoom(target.names, place));
    if (header.msg_controllen > 0) readControl(header, row, target.fds.subspan(fdsUsed));
    fdsUsed += static_cast<std::size_t>(row.fdCount);
  }
  return received;
}

ssize_t sendDatagrams(int fd, const DatagramSource& source) noexcept {
  Outgoing outgoing(source);
  int refused = 0;
  for (const DatagramRow& row : source.rows.first(std::min(source.rows.size(), kMostDatagrams))) {
    refused = outgoing.add(row);
    if (refused != 0) break;
  }
  if (outgoing.messages().empty()) return -refused;
  const auto send = [&]() -> ssize_t {
    const int sent = transfer<&SysTable::sendmmsg, &SysTable::sendmsg>(fd, outgoing.messages(),
                                                                       MSG_DONTWAIT | kNoSignal);
    return sent < 0 ? -errno : sent;
  };
  const ssize_t sent = send();
  // Told once, an error of ICMP is gone: what fails again is this datagram's own.
  return sent < 0 && mayBeIcmp(fd, static_cast<int>(-sent)) ? send() : sent;
}

}  // namespace ioloop
