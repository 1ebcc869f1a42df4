#include "server_end.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <span>

namespace ioloop::bench {
namespace {

struct Question {
  nlmsghdr header;
  inet_diag_req_v2 body;
};

/** What an answer begins with; attributes follow. */
struct Answer {
  nlmsghdr header;
  inet_diag_msg body;
};

/** The tcp_info among the attributes of a message. Nothing when there is none. */
std::optional<tcp_info> infoOf(std::span<const std::byte> attributes) noexcept {
  while (attributes.size() >= sizeof(rtattr)) {
    rtattr attribute{};
    std::memcpy(&attribute, attributes.data(), sizeof attribute);
    if (attribute.rta_len < sizeof attribute || attribute.rta_len > attributes.size()) break;
    if (attribute.rta_type == INET_DIAG_INFO) {
      tcp_info info{};
      const auto content = attributes.first(attribute.rta_len).subspan(RTA_LENGTH(0));
      // Kernels differ in how much of it they know.
      std::memcpy(&info, content.data(), std::min(content.size(), sizeof info));
      return info;
    }
    attributes = attributes.subspan(
        std::min(attributes.size(), RTA_SPACE(attribute.rta_len - RTA_LENGTH(0))));
  }
  return std::nullopt;
}

}  // namespace

std::optional<ServerEnd> ServerEnd::of(int fd) noexcept {
  UniqueFd diagnostics(::socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  sockaddr_in server{};
  sockaddr_in client{};
  socklen_t size = sizeof server;
  if (!diagnostics || ::getpeername(fd, reinterpret_cast<sockaddr*>(&server), &size) < 0 ||
      ::getsockname(fd, reinterpret_cast<sockaddr*>(&client), &size) < 0 ||
      server.sin_family != AF_INET)
    return std::nullopt;
  return ServerEnd(std::move(diagnostics), server, client);
}

std::optional<bool> ServerEnd::hasRead(std::uint64_t bytes) const noexcept {
  Question question{};
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  question.body.sdiag_family = AF_INET;
  question.body.sdiag_protocol = IPPROTO_TCP;
  question.body.idiag_ext = 1U << (INET_DIAG_INFO - 1);
  question.body.idiag_states = ~0U;
  question.body.id.idiag_sport = server_.sin_port;
  question.body.id.idiag_dport = client_.sin_port;
  question.body.id.idiag_src[0] = server_.sin_addr.s_addr;
  question.body.id.idiag_dst[0] = client_.sin_addr.s_addr;
  question.body.id.idiag_cookie[0] = INET_DIAG_NOCOOKIE;
  question.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  if (::send(diagnostics_.get(), &question, sizeof question, 0) < 0) return std::nullopt;

  std::array<std::byte, 4096> reply{};
  const ssize_t size = ::recv(diagnostics_.get(), reply.data(), reply.size(), 0);
  Answer answer{};
  if (size < static_cast<ssize_t>(sizeof answer)) return std::nullopt;
  std::memcpy(&answer, reply.data(), sizeof answer);
  if (answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return std::nullopt;
  const auto received = std::span(reply).first(static_cast<std::size_t>(size));
  const auto info = infoOf(received.subspan(sizeof answer));
  if (!info) return std::nullopt;
  // An empty queue alone does not do: bytes that arrive during the server's own call wait beside
  // it.
  return info->tcpi_bytes_received >= bytes && answer.body.idiag_rqueue == 0;
}

}  // namespace ioloop::bench
