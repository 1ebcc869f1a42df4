// ioloop-drip: sends one line of --size bytes, each byte once the server has read the one before,
// so that every byte costs the server a recv of its own; then wants the line back.
//
// Prints one line of JSON and exits 0. Exits 1 when a byte was wrong, the connection ended or the
// server stalled, and 2 when its arguments make no sense. 127.0.0.0/8 only.

#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <vector>

#include "generator.h"
#include "measurement.h"
#include "server_end.h"

namespace ioloop::bench {
namespace {

class Drip {
 public:
  explicit Drip(const Options& options) : options_(options), fd_(connect(options)) {
    auto end = ServerEnd::of(fd_.get());
    if (!end) fail("the kernel does not tell what the server has read: this needs sock_diag(7)");
    serverEnd_ = std::move(end);
    if (options.serverPid != 0) serverClock_ = CpuClock::of(options.serverPid);
    if (!serverClock_) fail("--server-pid has to name the server's process");
  }

  void run() {
    constexpr std::size_t kWarmUpSize = 4096;
    send(kWarmUpSize, options_.seed);
    const auto before = serverCpu();
    const auto begin = std::chrono::steady_clock::now();
    send(options_.size, options_.seed + 1);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - begin;
    const std::chrono::duration<double, std::micro> cpu = serverCpu() - before;
    std::printf("{\"size\":%zu,\"seconds\":%.6f,\"cpuUsPerByte\":%.5f}\n", options_.size,
                elapsed.count(), cpu.count() / static_cast<double>(options_.size));
  }

 private:
  static UniqueFd connect(const Options& options) {
    Result<UniqueFd> connected = options.target->connect(0);
    if (!connected) {
      errno = connected.error().code;
      fail(connected.error().call);
    }
    constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};
    if (::setsockopt(connected->get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) < 0)
      fail("setsockopt");
    return std::move(*connected);
  }

  /** Sends a line byte by byte and waits until it has come back. */
  void send(std::size_t size, std::uint64_t seed) {
    const auto protocol = options_.protocol->create(size, seed);
    line_.clear();
    protocol->request(line_);
    for (const std::byte& byte : line_) {
      if (::send(fd_.get(), &byte, 1, MSG_NOSIGNAL) != 1) fail("send failed");
      ++sent_;
      awaitRead();
    }
    std::size_t finished = 0;
    while (finished == 0) {
      const ssize_t received = ::recv(fd_.get(), buffer_.data(), buffer_.size(), 0);
      if (received < 0) fail("recv failed");
      errno = 0;
      if (received == 0) fail("the server closed the connection");
      const auto answers =
          protocol->receive(std::span(buffer_).first(static_cast<std::size_t>(received)));
      if (!answers) fail("the server sent bytes that nobody expected");
      finished = *answers;
    }
  }

  void awaitRead() const {
    constexpr std::chrono::seconds kPatience{10};
    const auto limit = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
      errno = 0;
      const auto hasRead = serverEnd_->hasRead(sent_);
      if (!hasRead) fail("the server closed the connection");
      if (*hasRead) return;
      ::sched_yield();
      if (std::chrono::steady_clock::now() > limit) fail("the server has stopped reading");
    }
  }

  std::chrono::nanoseconds serverCpu() const {
    const auto used = serverClock_->now();
    if (!used) fail("the server process has ended");
    return *used;
  }

  const Options& options_;
  UniqueFd fd_;
  std::optional<ServerEnd> serverEnd_;
  std::optional<CpuClock> serverClock_;
  std::uint64_t sent_ = 0;  // in the connection's life
  std::vector<std::byte> line_;
  std::array<std::byte, std::size_t{256} * 1024> buffer_{};
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static const Options options = startGenerator(argc, argv);
  static Drip drip(options);
  drip.run();
  return 0;
}
