// ioloop-raw-datagram-echo: the limit that every echo of datagrams is held against.
//
// usage: ioloop-raw-datagram-echo [unix]     UDP by default
//
// Prints its port, or its name behind '@', on a line of its own. SIGTERM and SIGINT end it.

#include <string_view>

#include "raw_datagram_server.h"
#include "raw_socket.h"

namespace ioloop::bench {
namespace {

class EchoServer final : public RawDatagramServer {
 public:
  using RawDatagramServer::RawDatagramServer;

 private:
  void received(std::span<mmsghdr> messages) override { answer(messages); }
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  const bool isUnix = argc == 2 && std::string_view(argv[1]) == "unix";
  static EchoServer server(isUnix ? bindUnixDatagrams() : bindUdp());
  server.run();
  return 0;
}
