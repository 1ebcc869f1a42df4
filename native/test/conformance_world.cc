#include "test/conformance_world.h"

#include <cerrno>

namespace ioloop {
namespace {

/** The descriptors of this process, so that a test can tell whether it left any. */
std::vector<int> openDescriptors() {
  constexpr int kHighest = 8192;
  std::vector<int> open;
  for (int fd = 0; fd < kHighest; ++fd)
    if (kKernel.fcntl(fd, F_GETFD, 0) >= 0) open.push_back(fd);
  return open;
}

void runIn(const WorldRow& row, Conformance body) {
  const std::vector<int> before = openDescriptors();
  {
    const std::unique_ptr<World> world = row.make();
    auto backend = world->createBackend();
    CHECK(backend.has_value());
    if (backend) body(*world, **backend);
    // Rule 10, whatever the test had the backend open.
    for (const int fd : openDescriptors())
      CHECK(std::ranges::binary_search(before, fd) ||
            (kKernel.fcntl(fd, F_GETFD, 0) & FD_CLOEXEC) != 0);
  }
  CHECK(openDescriptors() == before);
}

}  // namespace

bool World::send(int fd, std::size_t size) {
  const std::vector<char> bytes(size, 'x');
  return sys().send(fd, bytes.data(), size, 0) == static_cast<ssize_t>(size);
}

void World::fill(int fd) {
  constexpr std::array<char, 4096> kBytes{};
  while (sys().send(fd, kBytes.data(), kBytes.size(), 0) > 0) {
  }
  while (sys().send(fd, kBytes.data(), 1, 0) > 0) {
  }
}

ssize_t World::receive(int fd, std::size_t size) {
  std::vector<char> bytes(size);
  const ssize_t received = sys().recv(fd, bytes.data(), size, 0);
  return received < 0 ? -errno : received;
}

void World::drain(int fd) {
  while (receive(fd, 65536) > 0) {
  }
}

void World::close(int fd) {
  open_.erase(fd);
  sys().close(fd);
}

int World::own(int fd) {
  open_.insert(fd);
  return fd;
}

void World::closeAll() {
  for (const int fd : std::exchange(open_, {})) sys().close(fd);
}

bool conform(const char* sentence, Conformance body, bool kernelOnly) {
  return check::generate([=] {
    for (const WorldRow& row : worlds()) {
      if (kernelOnly && !row.onKernel) continue;
      check::add(row.name + ": " + sentence, [&row, body] { runIn(row, body); });
    }
  });
}

Ready waitFor(Backend& backend, int fd, Timeout timeout) {
  std::array<Event, 256> events;
  const auto count = backend.wait(events, timeout);
  CHECK(count.has_value());
  if (!count) return Ready::none;
  const auto told = std::span(events).first(*count);
  CHECK(std::ranges::count(told, fd, &Event::fd) <= 1);
  const auto event = std::ranges::find(told, fd, &Event::fd);
  return event == told.end() ? Ready::none : event->ready;
}

}  // namespace ioloop
