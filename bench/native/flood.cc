// ioloop-flood: sends UDP datagrams as fast as it can, --pipeline of them in a system call, to a
// server that counts them, and asks it before and after what it has counted.
//
// A question is a datagram shorter than the others, the answer its text, the datagrams and the
// bytes of them so far: "7" is answered by "7 1200 76800". Who answers has taken all that came
// before.
//
// Prints one line of JSON and exits 0. Exits 1 when the server counted what was not sent or does
// not answer, and 2 when its arguments make no sense.

#include <poll.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cinttypes>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "generator.h"
#include "message_batch.h"
#include "message_window.h"
#include "meter.h"
#include "pattern.h"

namespace ioloop::bench {
namespace {

using Clock = std::chrono::steady_clock;

/** Takes a number and the blank behind it off the front of `text`. False: there is none. */
bool takeNumber(std::string_view& text, std::uint64_t& number) noexcept {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{}) return false;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

class Flood {
 public:
  explicit Flood(const Options& options)
      : options_(options),
        fd_(connect(options)),
        meter_(options.serverPid),
        batch_(options.size),
        message_(options.size) {
    Pattern(options.seed).fill(message_);
  }

  void run() {
    sendFor(options_.warmUp);
    sent_ = 0;
    const Count first = ask();
    const Reading before = meter_.read();
    sendFor(options_.counted);
    const Count last = ask();
    const Reading after = meter_.read();
    const std::uint64_t counted = last.datagrams - first.datagrams;
    if (counted > sent_ || last.bytes - first.bytes != counted * options_.size)
      fail("the server counted what nobody sent");
    std::printf("{\"size\":%zu,\"sent\":%" PRIu64 ",\"lost\":%" PRIu64 ",\"lostShare\":%.5f,",
                options_.size, sent_, sent_ - counted,
                static_cast<double>(sent_ - counted) / static_cast<double>(sent_));
    meter_.print(counted, before, after);
    std::printf("\"sendCalls\":%" PRIu64 "}\n", calls_);
  }

 private:
  struct Count {
    std::uint64_t datagrams = 0;
    std::uint64_t bytes = 0;
  };

  static UniqueFd connect(const Options& options) {
    Result<UniqueFd> connected = options.target->connectMessages(SOCK_DGRAM);
    if (connected) return std::move(*connected);
    errno = connected.error().code;
    fail(connected.error().call);
  }

  void sendFor(const Extent& extent) {
    const auto end = Clock::now() + std::chrono::duration_cast<std::chrono::nanoseconds>(
                                        std::chrono::duration<double>(extent.seconds));
    for (std::uint64_t sent = 0;
         extent.operations > 0 ? sent < extent.operations : Clock::now() < end;
         sent += options_.pipeline) {
      for (std::size_t i = 0; i < options_.pipeline; ++i) batch_.add(message_);
      if (!batch_.send(fd_.get())) fail("sendmmsg failed");
      sent_ += options_.pipeline;
      ++calls_;
    }
  }

  /** What the server has counted so far; the question or its answer may be lost, too. */
  Count ask() {
    constexpr int kAttempts = 100;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      const std::string question = std::to_string(++question_);
      if (::send(fd_.get(), question.data(), question.size(), 0) < 0) fail("send failed");
      if (const auto count = awaitAnswer()) return *count;
    }
    errno = ETIMEDOUT;
    fail("the server does not say what it has counted");
  }

  /** The answer to the last question. Nothing when it does not come in time. */
  std::optional<Count> awaitAnswer() const {
    constexpr int kPatienceMs = 100;
    pollfd readable{.fd = fd_.get(), .events = POLLIN, .revents = 0};
    while (::poll(&readable, 1, kPatienceMs) == 1) {
      std::array<char, 64> buffer{};
      const ssize_t size = ::recv(fd_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (size < 0) fail("recv failed");
      errno = 0;
      std::string_view text(buffer.data(), static_cast<std::size_t>(size));
      std::uint64_t question = 0;
      Count count;
      if (!takeNumber(text, question) || !takeNumber(text, count.datagrams) ||
          !takeNumber(text, count.bytes) || !text.empty() || question > question_)
        fail("the server sent bytes that nobody expected");
      if (question == question_) return count;
    }
    return std::nullopt;
  }

  const Options& options_;
  UniqueFd fd_;
  Meter meter_;
  MessageBatch batch_;
  std::vector<std::byte> message_;
  std::uint64_t sent_ = 0;
  std::uint64_t calls_ = 0;
  std::uint64_t question_ = 0;
};

}  // namespace
}  // namespace ioloop::bench

int main(int argc, char** argv) {
  using namespace ioloop::bench;
  static const Options options = startMessageGenerator(argc, argv);
  static Flood flood(options);
  flood.run();
  return 0;
}
