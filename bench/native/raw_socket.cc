#include "raw_socket.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ioloop::bench {
namespace {

constexpr int kBacklog = 4096;
constexpr int kOn = 1;

int openSocket(int domain, int type) {
  const int fd = ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) endAfter("socket");
  return fd;
}

void bindInet(int fd, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) < 0) endAfter("bind");
}

void bindUnix(int fd) {
  // A family without a name has the kernel choose one: unix(7), autobind.
  const sa_family_t unnamed = AF_UNIX;
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&unnamed), sizeof unnamed) < 0) endAfter("bind");
}

}  // namespace

int listenTcp(std::uint16_t port) {
  const int fd = openSocket(AF_INET, SOCK_STREAM);
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &kOn, sizeof kOn);
  // Accepted sockets inherit it (tcp(7)): no call per connection.
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &kOn, sizeof kOn);
  bindInet(fd, port);
  if (::listen(fd, kBacklog) < 0) endAfter("listen");
  return fd;
}

int listenSeqpacket() {
  const int fd = openSocket(AF_UNIX, SOCK_SEQPACKET);
  bindUnix(fd);
  if (::listen(fd, kBacklog) < 0) endAfter("listen");
  return fd;
}

int bindUdp() {
  const int fd = openSocket(AF_INET, SOCK_DGRAM);
  bindInet(fd, 0);
  return fd;
}

int bindUnixDatagrams() {
  const int fd = openSocket(AF_UNIX, SOCK_DGRAM);
  bindUnix(fd);
  return fd;
}

void announce(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) < 0) endAfter("getsockname");
  if (address.ss_family == AF_UNIX) {
    sockaddr_un name{};
    std::memcpy(&name, &address, sizeof name);
    // Its first byte is zero.
    const int length = static_cast<int>(size - offsetof(sockaddr_un, sun_path)) - 1;
    std::printf("@%.*s\n", length, name.sun_path + 1);
  } else {
    sockaddr_in name{};
    std::memcpy(&name, &address, sizeof name);
    std::printf("%d\n", ntohs(name.sin_port));
  }
  std::fflush(stdout);
}

int watchSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  if (::sigprocmask(SIG_BLOCK, &signals, nullptr) < 0) endAfter("sigprocmask");
  const int fd = ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (fd < 0) endAfter("signalfd");
  return fd;
}

void endAfter(const char* call) {
  std::fprintf(stderr, "raw server: %s: %s\n", call, std::strerror(errno));
  std::exit(1);
}

}  // namespace ioloop::bench
