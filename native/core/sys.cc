#include "core/sys.h"

#include <net/if.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "core/backends.h"
#include "core/sigpipe_block.h"

#if defined(__linux__)
#include <sys/sendfile.h>
#include <sys/syscall.h>
#elif defined(__APPLE__) || defined(__FreeBSD__)
#include <sys/uio.h>
#endif

namespace ioloop {
namespace {

int kernelFcntl(int fd, int command, int argument) { return ::fcntl(fd, command, argument); }
// musl's takes an int for the request, all others an unsigned long.
template <typename Request>
int callIoctl(int (*call)(int, Request, ...), int fd, unsigned long request, int* value) {
  return call(fd, static_cast<Request>(request), value);
}
int kernelIoctl(int fd, unsigned long request, int* value) {
  return callIoctl(::ioctl, fd, request, value);
}
int kernelOpen(const char* path, int flags) { return ::open(path, flags); }

ssize_t kernelQuietWrite(int fd, const void* source, std::size_t size) {
  SigpipeBlock block;
  return block.noteResult(::write(fd, source, size));
}

#if defined(__linux__)
ssize_t kernelSendfile(int socket, int file, off_t offset, std::size_t count) {
  SigpipeBlock block;
  return block.noteResult(::sendfile(socket, file, &offset, count));
}
#elif defined(__APPLE__) || defined(__FreeBSD__)
ssize_t kernelSendfile(int socket, int file, off_t offset, std::size_t count) {
  if (count == 0) return 0;  // to them: all of it
#if defined(__APPLE__)
  off_t sent = static_cast<off_t>(count);
  const int result = ::sendfile(file, socket, offset, &sent, nullptr, 0);
#else
  off_t sent = 0;
  const int result = ::sendfile(file, socket, offset, count, nullptr, &sent, 0);
#endif
  // A socket that fills up is an error to them, even when bytes went.
  const bool stopped = errno == EAGAIN || errno == EINTR;
  return result == 0 || (stopped && sent > 0) ? static_cast<ssize_t>(sent) : -1;
}
#else
ssize_t kernelSendfile(int, int, off_t, std::size_t) {
  errno = ENOSYS;
  return -1;
}
#endif

#if defined(__APPLE__)
// macOS has none of the atomic forms: the flags are set right after, and a fork in another thread
// between the two calls can inherit the descriptor.
int withFlags(int fd, bool closeOnExec, bool nonBlocking) {
  if (fd < 0) return fd;
  if (closeOnExec) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (nonBlocking) ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}
int kernelDup3(int from, int to, int) { return withFlags(::dup2(from, to), true, false); }
int kernelPipe2(int* fds, int) {
  if (::pipe(fds) < 0) return -1;
  withFlags(fds[0], true, true);
  withFlags(fds[1], true, true);
  return 0;
}
int kernelAccept4(int fd, sockaddr* address, socklen_t* size, int) {
  return withFlags(::accept(fd, address, size), true, true);
}
int kernelSocket(int domain, int type, int protocol) {
  return withFlags(::socket(domain, type, protocol), true, true);
}
int kernelSocketpair(int domain, int type, int protocol, int* fds) {
  if (::socketpair(domain, type, protocol, fds) < 0) return -1;
  withFlags(fds[0], true, true);
  withFlags(fds[1], true, true);
  return 0;
}
int kernelPoll(pollfd* fds, nfds_t count, const timespec* timeout) {
  if (timeout == nullptr) return ::poll(fds, count, -1);
  return ::poll(fds, count,
                ceilMilliseconds(std::chrono::seconds{timeout->tv_sec} +
                                 std::chrono::nanoseconds{timeout->tv_nsec}));
}
#else
int kernelDup3(int from, int to, int flags) { return ::dup3(from, to, flags); }
int kernelPipe2(int* fds, int flags) { return ::pipe2(fds, flags); }
int kernelAccept4(int fd, sockaddr* address, socklen_t* size, int flags) {
  return ::accept4(fd, address, size, flags);
}
int kernelSocket(int domain, int type, int protocol) {
  return ::socket(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}
int kernelSocketpair(int domain, int type, int protocol, int* fds) {
  return ::socketpair(domain, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol, fds);
}
int kernelPoll(pollfd* fds, nfds_t count, const timespec* timeout) {
  return ::ppoll(fds, count, timeout, nullptr);
}
#endif

int kernelSelect(int count, fd_set* read, fd_set* write, fd_set* except, const timespec* timeout) {
  return ::pselect(count, read, write, except, timeout, nullptr);
}

#if defined(__linux__)
// By number: glibc's own are cancellation points (pthreads(7)), which cost two atomic operations a
// call as soon as a process has threads, and Node has.
ssize_t kernelRecv(int fd, void* target, std::size_t size, int flags) {
  return ::syscall(SYS_recvfrom, fd, target, size, flags, nullptr, nullptr);
}
ssize_t kernelSend(int fd, const void* source, std::size_t size, int flags) {
  return ::syscall(SYS_sendto, fd, source, size, flags, nullptr, 0);
}
// musl's own sends one by one.
int kernelRecvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) {
  return static_cast<int>(::syscall(SYS_recvmmsg, fd, messages, count, flags, nullptr));
}
int kernelSendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) {
  return static_cast<int>(::syscall(SYS_sendmmsg, fd, messages, count, flags));
}

// By number: glibc has a wrapper since 2.35 only, and the kernel the call since 5.11.
int kernelEpollPwait2([[maybe_unused]] int set, [[maybe_unused]] epoll_event* events,
                      [[maybe_unused]] int count, [[maybe_unused]] const timespec* timeout) {
#if defined(SYS_epoll_pwait2)
  return static_cast<int>(::syscall(SYS_epoll_pwait2, set, events, count, timeout, nullptr, 0));
#else
  errno = ENOSYS;
  return -1;
#endif
}
#elif defined(__FreeBSD__)
int kernelRecvmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) {
  return static_cast<int>(::recvmmsg(fd, messages, count, flags, nullptr));
}
int kernelSendmmsg(int fd, mmsghdr* messages, unsigned int count, int flags) {
  return static_cast<int>(::sendmmsg(fd, messages, count, flags));
}
#else
int kernelRecvmmsg(int, mmsghdr*, unsigned int, int) {
  errno = ENOSYS;
  return -1;
}
int kernelSendmmsg(int, mmsghdr*, unsigned int, int) {
  errno = ENOSYS;
  return -1;
}
#endif

#if defined(IOLOOP_EMULATE_KQUEUE)
using kevent_emulation::close;
#else
using ::close;
#endif

#if IOLOOP_HAS_KQUEUE
using ::kevent;
using ::kqueue;
#else
int kqueue() {
  errno = ENOSYS;
  return -1;
}
int kevent(int, const struct kevent*, int, struct kevent*, int, const timespec*) {
  errno = ENOSYS;
  return -1;
}
#endif

}  // namespace

const SysTable kKernel{
    .close = close,
    .fcntl = kernelFcntl,
    .fstat = ::fstat,
    .dup3 = kernelDup3,
    .read = ::read,
    .write = ::write,
    .quietWrite = kernelQuietWrite,
    .pread = ::pread,
    .sendfile = kernelSendfile,
    .ioctl = kernelIoctl,
    .open = kernelOpen,
    .lstat = ::lstat,
    .chmod = ::chmod,
    .fchmod = ::fchmod,
    .unlink = ::unlink,
    .pipe2 = kernelPipe2,
    .clockGettime = ::clock_gettime,
    .socket = kernelSocket,
    .socketpair = kernelSocketpair,
    .bind = ::bind,
    .listen = ::listen,
    .accept4 = kernelAccept4,
    .connect = ::connect,
    .shutdown = ::shutdown,
    .getsockopt = ::getsockopt,
    .setsockopt = ::setsockopt,
    .getsockname = ::getsockname,
    .getpeername = ::getpeername,
    .ifNameToIndex = ::if_nametoindex,
    .ifIndexToName = ::if_indextoname,
    .getifaddrs = ::getifaddrs,
    .freeifaddrs = ::freeifaddrs,
#if defined(__linux__)
    .recv = kernelRecv,
    .send = kernelSend,
#else
    .recv = ::recv,
    .send = ::send,
#endif
    .recvmsg = ::recvmsg,
    .sendmsg = ::sendmsg,
    .recvmmsg = kernelRecvmmsg,
    .sendmmsg = kernelSendmmsg,
    .poll = kernelPoll,
    .select = kernelSelect,
#if defined(__linux__)
    .epollCreate = ::epoll_create1,
    .epollCtl = ::epoll_ctl,
    .epollWait = ::epoll_wait,
    .epollPwait2 = kernelEpollPwait2,
    .eventfd = ::eventfd,
    .timerfdCreate = ::timerfd_create,
    .timerfdSettime = ::timerfd_settime,
    .inotifyInit = ::inotify_init1,
    .inotifyAddWatch = ::inotify_add_watch,
#endif
    .kqueue = kqueue,
    .kevent = kevent,
};

}  // namespace ioloop
