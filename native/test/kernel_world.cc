#include "test/kernel_world.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>

#include "core/unique_fd.h"

namespace ioloop {
namespace {

/** More descriptors than the usual soft limit of 1,024, as far as the hard one allows. */
void raiseDescriptorLimit() {
  rlimit limit{};
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 8192);
  setrlimit(RLIMIT_NOFILE, &limit);
}

[[maybe_unused]] const bool added = [] {
  raiseDescriptorLimit();
  for (const BackendRow& row : backends())
    worlds().push_back(
        {std::string(row.name), true, [&row] { return std::make_unique<KernelWorld>(row); }});
  return true;
}();

/** A loopback address; port 0 is any that is free. */
sockaddr_in loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

const sockaddr* generic(const sockaddr_in* address) {
  return reinterpret_cast<const sockaddr*>(address);
}

/** What the calls that no system lacks leave out. */
void prepare(int fd) {
  CHECK(::fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
  CHECK(::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0);
}

int tcpSocket() { return sys().socket(AF_INET, SOCK_STREAM, 0); }

/** Binds `fd` to a free port and returns where. */
sockaddr_in bindAnywhere(int fd) {
  sockaddr_in address = loopback();
  socklen_t size = sizeof address;
  CHECK(::bind(fd, generic(&address), size) == 0);
  CHECK(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0);
  return address;
}

}  // namespace

World::Ends KernelWorld::connect() {
  std::array<int, 2> ends{};
  CHECK(::socketpair(AF_UNIX, SOCK_STREAM, 0, ends.data()) == 0);
  for (const int fd : ends) prepare(fd);
  return {own(ends[0]), own(ends[1])};
}

World::Ends KernelWorld::connectOn(int number) {
  const Ends ends = connect();
  if (ends.near == number) return ends;
  CHECK(::fcntl(number, F_GETFD) < 0);
  sys().dup3(ends.near, number, O_CLOEXEC);
  close(ends.near);
  return {own(number), ends.far};
}

int KernelWorld::connectToNobody() {
  // A bound port where nobody listens refuses, and is not given to anybody else.
  const int bound = own(tcpSocket());
  const sockaddr_in address = bindAnywhere(bound);
  const int fd = own(tcpSocket());
  CHECK(::connect(fd, generic(&address), sizeof address) < 0);
  return fd;
}

World::Ends KernelWorld::connectTcp() {
  const UniqueFd listener(tcpSocket());
  const sockaddr_in address = bindAnywhere(listener.get());
  CHECK(::listen(listener.get(), 1) == 0);
  const int near = own(tcpSocket());
  CHECK(::connect(near, generic(&address), sizeof address) == 0 || errno == EINPROGRESS);
  pollfd arrival{.fd = listener.get(), .events = POLLIN, .revents = 0};
  CHECK(::poll(&arrival, 1, 10'000) == 1);
  const int far = own(::accept(listener.get(), nullptr, nullptr));
  prepare(far);
  return {near, far};
}

World::Ends KernelWorld::pipe() {
  std::array<int, 2> ends{};
  CHECK(sys().pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) == 0);
  return {own(ends[0]), own(ends[1])};
}

int KernelWorld::regularFile() {
  char path[] = "/tmp/ioloop-XXXXXX";
  const int fd = ::mkstemp(path);
  CHECK(fd >= 0);
  ::unlink(path);
  prepare(fd);
  return own(fd);
}

int KernelWorld::open(const char* path, int flags) {
  const int fd = ::open(path, flags | O_CLOEXEC);
  CHECK(fd >= 0);
  return own(fd);
}

int KernelWorld::duplicate(int fd, int least) {
  const int copy = ::fcntl(fd, F_DUPFD_CLOEXEC, least);
  CHECK(copy >= least);
  return own(copy);
}

void KernelWorld::reset(int fd) {
  const linger none{.l_onoff = 1, .l_linger = 0};
  CHECK(::setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none) == 0);
  close(fd);
}

}  // namespace ioloop
