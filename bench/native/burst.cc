// ioloop-burst: connects --connections times at once and sends each one message of --size as soon
// as it may; ends when every byte of every answer has come back and all connections stand.
//
// Prints one line of JSON and exits 0. Exits 1 when a byte was wrong, a connection failed or the
// server stalled, and 2 when its arguments make no sense.

#include <sys/epoll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <deque>
#include <memory>

#include "generator.h"
#include "measurement.h"

namespace ioloop::bench {
namespace {

class Burst {
 public:
  explicit Burst(const Options& options) : options_(options), set_(::epoll_create1(EPOLL_CLOEXEC)) {
    if (!set_) fail("epoll_create1");
    if (options.serverPid != 0) serverClock_ = CpuClock::of(options.serverPid);
    if (options.serverPid != 0 && !serverClock_) fail("no process has that --server-pid");
  }

  void run() {
    const auto cpuBefore = serverCpu();
    begin_ = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < options_.connections; ++i) connect(i);
    while (answered_ < options_.connections) wait();
    print(std::chrono::steady_clock::now() - begin_, serverCpu() - cpuBefore);
  }

 private:
  struct Guest {
    UniqueFd fd;
    std::unique_ptr<Protocol> protocol;
    bool sent = false;
  };

  void connect(std::size_t index) {
    Result<UniqueFd> started = options_.target->startConnect(index);
    if (!started) {
      errno = started.error().code;
      fail(started.error().call);
    }
    const std::uint64_t seed = options_.seed + index * 0x1'0000'0001U;
    const Guest& guest =
        guests_.emplace_back(std::move(*started), options_.protocol->create(options_.size, seed));
    // Edge-triggered, so that the generator makes one epoll_ctl a connection.
    epoll_event event{.events = EPOLLIN | EPOLLOUT | EPOLLET, .data = {.u64 = index}};
    if (::epoll_ctl(set_.get(), EPOLL_CTL_ADD, guest.fd.get(), &event) < 0) fail("epoll_ctl");
  }

  void wait() {
    // A SYN that the backlog had no room for is sent again after 1, 3, 7, 15 s (tcp(7)).
    constexpr int kStallMs = 60'000;
    const int count =
        ::epoll_wait(set_.get(), events_.data(), static_cast<int>(events_.size()), kStallMs);
    errno = count == 0 ? ETIMEDOUT : errno;
    if (count <= 0) fail("the server owes answers and sends none");
    for (const epoll_event& event : std::span(events_).first(static_cast<std::size_t>(count))) {
      Guest& guest = guests_[event.data.u64];
      if ((event.events & EPOLLOUT) != 0 && !guest.sent) send(guest);
      if ((event.events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive(guest);
    }
  }

  void send(Guest& guest) {
    message_.clear();
    guest.protocol->request(message_);
    // A message is smaller than an empty send buffer: it is taken whole.
    const ssize_t size = ::send(guest.fd.get(), message_.data(), message_.size(), MSG_NOSIGNAL);
    if (size != static_cast<ssize_t>(message_.size())) fail("a connection failed");
    guest.sent = true;
  }

  void receive(Guest& guest) {
    const ssize_t size = ::recv(guest.fd.get(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (size < 0 && errno == EAGAIN) return;
    if (size < 0) fail("recv failed");
    errno = 0;
    if (size == 0) fail("the server closed a connection");
    const auto finished =
        guest.protocol->receive(std::span(buffer_).first(static_cast<std::size_t>(size)));
    if (!finished) fail("the server sent bytes that nobody expected");
    answered_ += *finished;
    latencies_.add(std::chrono::steady_clock::now() - begin_, *finished);
  }

  std::chrono::nanoseconds serverCpu() const {
    if (!serverClock_) return {};
    const auto used = serverClock_->now();
    if (!used) fail("the server process has ended");
    return *used;
  }

  void print(std::chrono::duration<double> elapsed, std::chrono::nanoseconds cpu) const {
    const auto count = static_cast<double>(options_.connections);
    std::printf("{\"connections\":%zu,\"seconds\":%.6f,\"medianSeconds\":%.6f",
                options_.connections, elapsed.count(), latencies_.percentileUs(0.5) / 1e6);
    if (serverClock_) {
      const double cpuUs = std::chrono::duration<double, std::micro>(cpu).count();
      std::printf(",\"cpuUsPerConnection\":%.5f", cpuUs / count);
    }
    std::puts("}");
  }

  const Options& options_;
  UniqueFd set_;
  std::optional<CpuClock> serverClock_;
  std::deque<Guest> guests_;
  std::chrono::steady_clock::time_point begin_;
  std::size_t answered_ = 0;
  std::array<epoll_event, 256> events_{};
  std::array<std::byte, std::size_t{64} * 1024> buffer_{};
  std::vector<std::byte> message_;
  Histogram latencies_;
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static const Options options = startGenerator(argc, argv);
  static Burst burst(options);
  burst.run();
  return 0;
}
