#pragma once

#include <time.h>

#include <cstdint>

/**
 * kqueue(2) of FreeBSD, as much of it as this project uses, on Linux: so that the kqueue backend
 * is tested on the machines that its authors have. https://man.freebsd.org/kqueue is the contract.
 *
 * Covered: EVFILT_READ, EVFILT_WRITE and EVFILT_EXCEPT (NOTE_OOB, from macOS) of sockets, pipes and
 * whatever else epoll(7) watches; EVFILT_TIMER with relative times; EVFILT_USER. What kqueue()
 * returns is a descriptor that can be duplicated, and be watched itself. A descriptor's filters
 * are listed apart where several descriptors are ready, as a kernel's queue has them.
 *
 * Different from the real one: EPERM for regular files; a connection's pending error is told as
 * ECONNRESET whatever it is, since Linux cannot look at it without taking it; EV_CLEAR may fire
 * again when another filter of its descriptor does; a kqueue is inherited by fork(2).
 */
struct kevent {
  std::uintptr_t ident;
  short filter;
  unsigned short flags;
  unsigned int fflags;
  std::int64_t data;
  void* udata;
};

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_TIMER (-7)
#define EVFILT_USER (-11)
#define EVFILT_EXCEPT (-15)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ENABLE 0x0004
#define EV_DISABLE 0x0008
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_DISPATCH 0x0080
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

#define NOTE_OOB 0x0002

#define NOTE_SECONDS 0x0001
#define NOTE_MSECONDS 0x0002
#define NOTE_USECONDS 0x0004
#define NOTE_NSECONDS 0x0008

#define NOTE_FFNOP 0x00000000u
#define NOTE_FFAND 0x40000000u
#define NOTE_FFOR 0x80000000u
#define NOTE_FFCOPY 0xc0000000u
#define NOTE_FFCTRLMASK 0xc0000000u
#define NOTE_FFLAGSMASK 0x00ffffffu
#define NOTE_TRIGGER 0x01000000u

#define EV_SET(event, identifier, filterNumber, actions, filterFlags, filterData, userData) \
  (*(event) = {static_cast<std::uintptr_t>(identifier), static_cast<short>(filterNumber),   \
               static_cast<unsigned short>(actions), static_cast<unsigned>(filterFlags),    \
               static_cast<std::int64_t>(filterData), (userData)})

int kqueue();
// The function shares the structure's name, as it does on every BSD.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
int kevent(int set, const struct kevent* changes, int changeCount, struct kevent* events,
           int eventCount, const timespec* timeout);
#pragma GCC diagnostic pop

namespace kevent_emulation {

/**
 * close(2), which also frees what belongs to a kqueue when the last descriptor of it goes. One that
 * is closed in another way is noticed by the next kqueue().
 */
int close(int fd);

/** How many descriptors the emulation keeps for itself: one for each kqueue that it knows of. */
int innerDescriptors();

}  // namespace kevent_emulation
