// ioloop-raw-lines: the limit that every server of lines is held against. Splits what a recv
// brought into lines, answers each with itself, and sends the answers of one recv together.
//
// usage: ioloop-raw-lines [PORT]     127.0.0.1, any free port by default
//
// Prints its port on a line of its own. SIGTERM and SIGINT end it with status 0.

#include <cstring>

#include "raw_server.h"
#include "raw_socket.h"

namespace ioloop::bench {
namespace {

class LineServer final : public RawServer {
 public:
  using RawServer::RawServer;

 private:
  void received(int fd, std::span<const char> bytes) override {
    answers_.clear();
    while (!bytes.empty()) {
      // Only what is new is searched: a line that comes byte by byte costs linear work.
      const auto* feed = static_cast<const char*>(std::memchr(bytes.data(), '\n', bytes.size()));
      if (feed == nullptr) break;
      const auto size = static_cast<std::size_t>(feed - bytes.data()) + 1;
      take(fd, bytes.first(size));
      bytes = bytes.subspan(size);
    }
    if (!bytes.empty()) {
      std::vector<char>& begun = begun_[fd];
      begun.insert(begun.end(), bytes.begin(), bytes.end());
    }
    if (!answers_.empty()) answer(fd, answers_);
  }

  void closing(int fd) override { begun_.erase(fd); }

  /** Answers the line that `end` completes. */
  void take(int fd, std::span<const char> end) {
    // Where no line is ever split, nothing is looked up.
    if (!begun_.empty()) {
      const auto begun = begun_.find(fd);
      if (begun != begun_.end()) {
        answers_.insert(answers_.end(), begun->second.begin(), begun->second.end());
        begun_.erase(begun);
      }
    }
    answers_.insert(answers_.end(), end.begin(), end.end());
  }

  std::vector<char> answers_;                         // of one recv
  std::unordered_map<int, std::vector<char>> begun_;  // lines without their end, by connection
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static LineServer server(listenTcp(portArgument(argc, argv)));
  server.run();
  return 0;
}
