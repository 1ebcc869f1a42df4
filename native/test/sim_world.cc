#include <netinet/in.h>

#include "core/sim/sim_backend.h"
#include "core/sim/sim_network.h"
#include "test/conformance_world.h"

namespace ioloop {
namespace {

/** A simulated network, seen by its backend. */
class SimWorld final : public World {
 public:
  ~SimWorld() override { closeAll(); }

  Result<std::unique_ptr<Backend>> createBackend() noexcept override {
    return SimBackend::create(network_);
  }
  Instant now() override { return network_.now(); }

  std::size_t capacity() const override { return kSimFdsPerNetwork; }
  bool tellsFailures() const override { return true; }
  bool tellsClosed() const override { return false; }

  Ends connect() override {
    auto pair = network_.socketPair();
    CHECK(pair.has_value());
    if (!pair) return {-1, -1};
    return {own((*pair)[0].release()), own((*pair)[1].release())};
  }

  Ends connectOn(int number) override {
    auto pair = network_.socketPair();
    CHECK(pair.has_value());
    if (!pair) return {-1, -1};
    const int near = (*pair)[0].get() == number ? (*pair)[0].release()
                                                : sys().dup3((*pair)[0].get(), number, O_CLOEXEC);
    return {own(near), own((*pair)[1].release())};
  }

  int connectToNobody() override {
    auto socket = network_.socket();
    CHECK(socket.has_value());
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(1);
    CHECK(sys().connect(socket->get(), reinterpret_cast<const sockaddr*>(&address),
                        sizeof address) < 0);
    return own(socket->release());
  }

 private:
  SimNetwork network_{1};
};

[[maybe_unused]] const bool added = [] {
  worlds().push_back({"sim", false, [] { return std::make_unique<SimWorld>(); }});
  return true;
}();

}  // namespace
}  // namespace ioloop
