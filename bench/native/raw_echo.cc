// ioloop-raw-echo: the limit that every echo is held against. Answers each recv with its bytes.
//
// usage: ioloop-raw-echo [PORT]        127.0.0.1, any free port by default
//        ioloop-raw-echo seqpacket     Unix, an abstract name
//
// Prints its port, or its name behind '@', on a line of its own. SIGTERM and SIGINT end it with
// status 0.

#include <string_view>

#include "raw_server.h"
#include "raw_socket.h"

namespace ioloop::bench {
namespace {

class EchoServer final : public RawServer {
 public:
  using RawServer::RawServer;

 private:
  void received(int fd, std::span<const char> bytes) override { answer(fd, bytes); }
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  const bool isSeqpacket = argc == 2 && std::string_view(argv[1]) == "seqpacket";
  static EchoServer server(isSeqpacket ? listenSeqpacket() : listenTcp(portArgument(argc, argv)));
  server.run();
  return 0;
}
