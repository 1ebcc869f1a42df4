#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace ioloop::bench {

/**
 * What is said on one connection and what must come back: the seam for a protocol.
 *
 * It does no input or output, so it serves any transport. A new protocol is a class and a row of
 * the table in protocol.cc.
 */
class Protocol {
 public:
  virtual ~Protocol() = default;

  /** Appends one request to `out` and expects its answer after those asked for before. */
  virtual void request(std::vector<std::byte>& out) = 0;

  /**
   * Takes what arrived and checks every byte of it. Returns how many answers it completed; nothing
   * when a byte is wrong or nobody asked for it.
   */
  virtual std::optional<std::size_t> receive(std::span<const std::byte> bytes) = 0;

  /** Whether a connection is closed after its batch of requests, and made anew for the next. */
  virtual bool closesAfterBatch() const noexcept { return false; }
};

/** Makes one connection's side of a protocol. `size` is bytes of a message, `seed` its pattern. */
using ProtocolFactory = std::unique_ptr<Protocol> (*)(std::size_t size, std::uint64_t seed);

struct ProtocolRow {
  std::string_view name;
  ProtocolFactory create;
};

/** The protocols of this program. */
std::span<const ProtocolRow> protocols() noexcept;

}  // namespace ioloop::bench
