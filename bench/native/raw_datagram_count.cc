// ioloop-raw-datagram-count: the limit that every count of datagrams is held against. Answers those
// of less than 16 bytes, as ioloop-flood wants it: their text, the others so far and their bytes.
//
// Prints its UDP port on a line of its own. SIGTERM and SIGINT end it.

#include <cinttypes>
#include <cstdio>

#include "raw_datagram_server.h"
#include "raw_socket.h"

namespace ioloop::bench {
namespace {

class CountServer final : public RawDatagramServer {
 public:
  using RawDatagramServer::RawDatagramServer;

 private:
  static constexpr unsigned kLeastSize = 16;

  void received(std::span<mmsghdr> messages) override {
    for (mmsghdr& message : messages) {
      if (message.msg_len < kLeastSize) {
        tell(message);
      } else {
        ++datagrams_;
        bytes_ += message.msg_len;
      }
    }
  }

  void tell(mmsghdr& question) {
    std::array<char, 64> text{};
    const int size = std::snprintf(
        text.data(), text.size(), "%.*s %" PRIu64 " %" PRIu64, static_cast<int>(question.msg_len),
        static_cast<const char*>(question.msg_hdr.msg_iov->iov_base), datagrams_, bytes_);
    question.msg_len = static_cast<unsigned>(size);
    iovec whole{.iov_base = text.data(), .iov_len = 0};
    iovec* const asked = question.msg_hdr.msg_iov;
    question.msg_hdr.msg_iov = &whole;
    answer(std::span(&question, 1));
    question.msg_hdr.msg_iov = asked;
  }

  std::uint64_t datagrams_ = 0;
  std::uint64_t bytes_ = 0;
};

}  // namespace
}  // namespace ioloop::bench

int main() {
  using namespace ioloop::bench;
  static CountServer server(bindUdp());
  server.run();
  return 0;
}
