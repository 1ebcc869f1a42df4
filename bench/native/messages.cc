// ioloop-messages: the load on servers that send back each message: UDP, or with --type Unix
// datagrams and seqpacket. Each of --connections sockets has --pipeline messages in flight, 64 at
// most; an answer is replaced by the next message, those that came together by one sendmmsg(2).
//
// A datagram without an answer for a while counts as lost, and another is sent in its place. In the
// Unix domain none is lost.
//
// Prints one line of JSON and exits 0. Exits 1 when a byte was wrong, a message was answered twice,
// or the server stalled, and 2 when its arguments make no sense.

#include <sys/epoll.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <vector>

#include "generator.h"
#include "message_batch.h"
#include "message_window.h"
#include "meter.h"

namespace ioloop::bench {
namespace {

using Clock = std::chrono::steady_clock;

class MessageLoad {
 public:
  explicit MessageLoad(const Options& options)
      : options_(options),
        set_(::epoll_create1(EPOLL_CLOEXEC)),
        meter_(options.serverPid),
        batch_(options.size) {
    if (!set_) fail("epoll_create1");
    for (std::size_t i = 0; i < options.connections; ++i) connect(i);
  }

  void run() {
    const Clock::time_point now = lastAnswer_ = nextSweep_ = Clock::now();
    for (Peer& peer : peers_) {
      for (std::size_t slot = 0; slot < options_.pipeline; ++slot)
        batch_.add(peer.window.renew(slot, now));
      send(peer);
    }
    runPhase(options_.warmUp);
    latencies_.clear();
    const Reading before = meter_.read();
    const std::uint64_t operations = runPhase(options_.counted);
    const Reading after = meter_.read();
    drain();
    errno = 0;
    if (late_ > givenUp_) fail("the server answered a message twice");
    std::printf(R"({"connections":%zu,"size":%zu,"pipeline":%zu,"lost":%)" PRIu64 ",",
                options_.connections, options_.size, options_.pipeline, givenUp_ - late_);
    meter_.print(operations, before, after);
    printLatencies(latencies_);
    std::puts("}");
  }

 private:
  struct Peer {
    UniqueFd fd;
    MessageWindow window;
  };

  void connect(std::size_t index) {
    Result<UniqueFd> connected = options_.target->connectMessages(options_.type);
    if (!connected) {
      errno = connected.error().code;
      fail(connected.error().call);
    }
    constexpr timeval kSendPatience{.tv_sec = 10, .tv_usec = 0};
    epoll_event event{.events = EPOLLIN, .data = {.u64 = index}};
    if (::setsockopt(connected->get(), SOL_SOCKET, SO_SNDTIMEO, &kSendPatience,
                     sizeof kSendPatience) < 0)
      fail("setsockopt");
    if (::epoll_ctl(set_.get(), EPOLL_CTL_ADD, connected->get(), &event) < 0) fail("epoll_ctl");
    const std::uint64_t seed = options_.seed + (std::uint64_t{index} << 48U);
    peers_.push_back({.fd = std::move(*connected),
                      .window = MessageWindow(options_.pipeline, options_.size, seed)});
  }

  /** Has messages answered for that long. Returns how many were. */
  std::uint64_t runPhase(const Extent& extent) {
    std::uint64_t finished = 0;
    const auto end = Clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::duration<double>(extent.seconds));
    for (;;) {
      const auto now = Clock::now();
      if (extent.operations > 0 ? finished >= extent.operations : now >= end) return finished;
      if (now >= nextSweep_) sweep(now);
      finished += wait();
    }
  }

  /** Has the last messages answered: that nobody is there any more would be an error to a server.
   */
  void drain() {
    isDraining_ = true;
    const auto end = Clock::now() + (options_.target->mayLose() ? kPatience : kStall);
    std::uint64_t inFlight = options_.connections * options_.pipeline;
    while (inFlight > 0 && Clock::now() < end) inFlight -= wait();
    if (inFlight > 0 && !options_.target->mayLose()) failStalled();
    givenUp_ += inFlight;
  }

  /** Serves those whose answers are there, or come within a sweep. Returns how many answers. */
  std::uint64_t wait() {
    const int count = ::epoll_wait(set_.get(), events_.data(), static_cast<int>(events_.size()),
                                   static_cast<int>(kSweep.count()));
    if (count < 0) fail("epoll_wait");
    std::uint64_t finished = 0;
    for (const epoll_event& event : std::span(events_).first(static_cast<std::size_t>(count)))
      finished += serve(peers_[event.data.u64]);
    return finished;
  }

  /** Takes the answers that are there and, until the drain, sends as many messages. */
  std::uint64_t serve(Peer& peer) {
    const int count = batch_.receive(peer.fd.get());
    if (count < 0) fail("recvmmsg failed");
    errno = 0;
    const auto now = Clock::now();
    std::uint64_t finished = 0;
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
      const Answer answer = peer.window.receive(batch_[i]);
      if (answer.verdict == Verdict::kWrong) fail("the server sent a message that nobody expected");
      if (answer.verdict == Verdict::kLate) {
        ++late_;
        continue;
      }
      latencies_.add(now - peer.window.sentAt(answer.slot), 1);
      if (!isDraining_) batch_.add(peer.window.renew(answer.slot, now));
      ++finished;
    }
    if (finished > 0) lastAnswer_ = now;
    send(peer);
    return finished;
  }

  /** Gives up what has been in flight for too long, and fails where nothing comes any more. */
  void sweep(Clock::time_point now) {
    nextSweep_ = now + kSweep;
    if (now - lastAnswer_ > kStall) failStalled();
    if (!options_.target->mayLose()) return;
    for (Peer& peer : peers_) {
      for (std::size_t slot = 0; slot < peer.window.slots(); ++slot) {
        if (now - peer.window.sentAt(slot) < kPatience) continue;
        batch_.add(peer.window.renew(slot, now));
        ++givenUp_;
      }
      send(peer);
    }
  }

  void send(const Peer& peer) {
    if (!batch_.send(peer.fd.get())) fail("sendmmsg failed");
  }

  [[noreturn]] static void failStalled() {
    errno = ETIMEDOUT;
    fail("the server owes answers and sends none");
  }

  static constexpr std::chrono::milliseconds kSweep{100};
  static constexpr std::chrono::milliseconds kPatience{200};
  static constexpr std::chrono::milliseconds kStall{10'000};

  const Options& options_;
  UniqueFd set_;
  Meter meter_;
  MessageBatch batch_;
  std::vector<Peer> peers_;
  std::array<epoll_event, 256> events_{};
  Clock::time_point lastAnswer_;
  Clock::time_point nextSweep_;
  bool isDraining_ = false;
  std::uint64_t givenUp_ = 0;
  std::uint64_t late_ = 0;
  Histogram latencies_;
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static const Options options = startMessageGenerator(argc, argv);
  static MessageLoad load(options);
  load.run();
  return 0;
}
