#include "protocol.h"

#include <array>
#include <cstring>

#include "pattern.h"

namespace ioloop::bench {
namespace {

/** Messages of `size` random bytes; the answer is the message. */
class EchoProtocol : public Protocol {
 public:
  EchoProtocol(std::size_t size, std::uint64_t seed) noexcept : size_(size), pattern_(seed) {}

  void request(std::vector<std::byte>& out) override {
    if (received_ == expected_.size()) {
      expected_.clear();
      received_ = 0;
    }
    const std::size_t start = expected_.size();
    expected_.resize(start + size_);
    const std::span<std::byte> message = std::span(expected_).subspan(start);
    fill(message, pattern_);
    out.insert(out.end(), message.begin(), message.end());
  }

  std::optional<std::size_t> receive(std::span<const std::byte> bytes) override {
    if (bytes.size() > expected_.size() - received_) return std::nullopt;
    if (std::memcmp(bytes.data(), expected_.data() + received_, bytes.size()) != 0)
      return std::nullopt;
    const std::size_t before = received_ / size_;
    received_ += bytes.size();
    return received_ / size_ - before;
  }

 protected:
  virtual void fill(std::span<std::byte> message, Pattern& pattern) noexcept {
    pattern.fill(message);
  }

 private:
  std::size_t size_;
  Pattern pattern_;
  std::vector<std::byte> expected_;  // the answers of the batch under way
  std::size_t received_ = 0;
};

/** Lines of text, `size` bytes with the line feed; the answer is the line. */
class LinesProtocol final : public EchoProtocol {
 public:
  using EchoProtocol::EchoProtocol;

 protected:
  void fill(std::span<std::byte> message, Pattern& pattern) noexcept override {
    pattern.fillText(message.first(message.size() - 1));
    message.back() = std::byte{'\n'};
  }
};

/** Connect, one echoed message, close: what a connection costs. */
class AcceptProtocol final : public EchoProtocol {
 public:
  using EchoProtocol::EchoProtocol;

  bool closesAfterBatch() const noexcept override { return true; }
};

template <typename T>
std::unique_ptr<Protocol> make(std::size_t size, std::uint64_t seed) {
  return std::make_unique<T>(size, seed);
}

constexpr std::array kProtocols{
    ProtocolRow{"echo", make<EchoProtocol>},
    ProtocolRow{"lines", make<LinesProtocol>},
    ProtocolRow{"accept", make<AcceptProtocol>},
};

}  // namespace

std::span<const ProtocolRow> protocols() noexcept { return kProtocols; }

}  // namespace ioloop::bench
