#pragma once

#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

#include "core/instant.h"

#if defined(__linux__)
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/timerfd.h>
#endif

#if defined(__APPLE__)
/** As Linux and FreeBSD have it, recvmmsg(2). */
struct mmsghdr {
  msghdr msg_hdr;
  unsigned int msg_len;
};
#endif

#if defined(IOLOOP_EMULATE_KQUEUE)
#include "test/kevent_emulation.h"
#elif defined(__linux__)
struct kevent;
#else
#include <sys/event.h>
#endif

namespace ioloop {

/**
 * Every system call that core makes, in one table: what is not in it, core does not do.
 *
 * The kernel's entries are in force unless another table is installed, which the fault injector
 * (test builds) and the simulated network do. An entry behaves exactly as its man page says,
 * errno included.
 */
struct SysTable {
  int (*close)(int fd);
  int (*fcntl)(int fd, int command, int argument);
  int (*fstat)(int fd, struct stat* status);
  int (*dup3)(int from, int to, int flags);
  ssize_t (*read)(int fd, void* target, std::size_t size);
  ssize_t (*write)(int fd, const void* source, std::size_t size);
  ssize_t (*quietWrite)(int fd, const void* source, std::size_t size);  // write(2), no SIGPIPE
  ssize_t (*pread)(int fd, void* target, std::size_t size, off_t offset);
  /** Linux's sendfile(2), but never a SIGPIPE: bytes sent, 0 at the end of the file. */
  ssize_t (*sendfile)(int socket, int file, off_t offset, std::size_t count);
  int (*ioctl)(int fd, unsigned long request, int* value);
  int (*open)(const char* path, int flags);
  int (*lstat)(const char* path, struct stat* status);
  int (*chmod)(const char* path, mode_t mode);
  int (*fchmod)(int fd, mode_t mode);
  int (*unlink)(const char* path);
  int (*pipe2)(int* fds, int flags);
  int (*clockGettime)(clockid_t clock, timespec* now);

  int (*socket)(int domain, int type, int protocol);
  int (*socketpair)(int domain, int type, int protocol, int* fds);
  int (*bind)(int fd, const sockaddr* address, socklen_t size);
  int (*listen)(int fd, int backlog);
  int (*accept4)(int fd, sockaddr* address, socklen_t* size, int flags);
  int (*connect)(int fd, const sockaddr* address, socklen_t size);
  int (*shutdown)(int fd, int how);
  int (*getsockopt)(int fd, int level, int name, void* value, socklen_t* size);
  int (*setsockopt)(int fd, int level, int name, const void* value, socklen_t size);
  int (*getsockname)(int fd, sockaddr* address, socklen_t* size);
  int (*getpeername)(int fd, sockaddr* address, socklen_t* size);
  unsigned int (*ifNameToIndex)(const char* name);
  char* (*ifIndexToName)(unsigned int index, char* name);
  int (*getifaddrs)(ifaddrs** list);
  void (*freeifaddrs)(ifaddrs* list);
  ssize_t (*recv)(int fd, void* target, std::size_t size, int flags);
  ssize_t (*send)(int fd, const void* source, std::size_t size, int flags);
  ssize_t (*recvmsg)(int fd, msghdr* message, int flags);
  ssize_t (*sendmsg)(int fd, const msghdr* message, int flags);
  /** Without its timeout, which does not do what one thinks: recvmmsg(2), BUGS. */
  int (*recvmmsg)(int fd, mmsghdr* messages, unsigned int count, int flags);
  int (*sendmmsg)(int fd, mmsghdr* messages, unsigned int count, int flags);

  int (*poll)(pollfd* fds, nfds_t count, const timespec* timeout);  // ppoll(2) without a mask
  int (*select)(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout);
#if defined(__linux__)
  int (*epollCreate)(int flags);
  int (*epollCtl)(int set, int operation, int fd, epoll_event* event);
  int (*epollWait)(int set, epoll_event* events, int count, int timeoutMs);
  int (*epollPwait2)(int set, epoll_event* events, int count, const timespec* timeout);
  int (*eventfd)(unsigned int initial, int flags);
  int (*timerfdCreate)(clockid_t clock, int flags);
  int (*timerfdSettime)(int fd, int flags, const itimerspec* value, itimerspec* old);
  int (*inotifyInit)(int flags);
  int (*inotifyAddWatch)(int fd, const char* path, std::uint32_t mask);
#endif
  int (*kqueue)();
  int (*kevent)(int set, const struct kevent* changes, int changeCount, struct kevent* events,
                int eventCount, const timespec* timeout);
};

/** The kernel's own table. Calls that a system lacks answer ENOSYS. */
extern const SysTable kKernel;

namespace detail {
inline std::atomic<const SysTable*> installedTable{&kKernel};
}  // namespace detail

/** The table in force: `sys().recv(...)`. */
inline const SysTable& sys() noexcept {
  return *detail::installedTable.load(std::memory_order_relaxed);
}

/** Puts `table` in force for the whole process; it must outlive its use. Returns the one before. */
inline const SysTable& installSys(const SysTable& table) noexcept {
  return *detail::installedTable.exchange(&table);
}

/** Now, on the monotonic clock. */
inline Instant monotonicNow() noexcept {
  timespec now{};
  sys().clockGettime(CLOCK_MONOTONIC, &now);
  return Instant{std::chrono::seconds{now.tv_sec} + std::chrono::nanoseconds{now.tv_nsec}};
}

}  // namespace ioloop
