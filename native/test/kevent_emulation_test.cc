#include "test/kevent_emulation.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "core/unique_fd.h"
#include "test/check.h"

// What https://man.freebsd.org/kqueue says, held against the emulation.
namespace {

using ioloop::UniqueFd;
using Events = std::vector<struct kevent>;
using namespace std::chrono_literals;

constexpr timespec kAtOnce{};
constexpr timespec kLong{.tv_sec = 10, .tv_nsec = 0};

struct kevent change(auto ident, int filter, int flags, unsigned fflags = 0, std::int64_t data = 0,
                     void* udata = nullptr) {
  struct kevent event{};
  EV_SET(&event, ident, filter, flags, fflags, data, udata);
  return event;
}

/** Makes the changes; 0, or the errno of the call. */
int apply(const UniqueFd& set, std::initializer_list<struct kevent> changes) {
  return ::kevent(set.get(), changes.begin(), static_cast<int>(changes.size()), nullptr, 0,
                  nullptr) < 0
             ? errno
             : 0;
}

Events take(const UniqueFd& set, const timespec& timeout = kAtOnce, std::size_t limit = 16) {
  Events events(limit);
  const int count =
      ::kevent(set.get(), nullptr, 0, events.data(), static_cast<int>(limit), &timeout);
  events.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
  return events;
}

bool isReadable(int fd) {
  pollfd readable{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&readable, 1, 0) == 1;
}

struct Ends {
  UniqueFd ours;
  UniqueFd theirs;
};

Ends makeSockets() {
  std::array<int, 2> fds{};
  ::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds.data());
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

Ends makePipe() {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_NONBLOCK | O_CLOEXEC) < 0) return {UniqueFd(), UniqueFd()};
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

void put(const UniqueFd& fd, std::string_view bytes) {
  CHECK(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
}

void takeBytes(const UniqueFd& fd) {
  std::array<char, 256> buffer;
  CHECK(::read(fd.get(), buffer.data(), buffer.size()) > 0);
}

TEST("a level-triggered read tells how many bytes wait, until they are taken") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  int mark = 0;
  REQUIRE(apply(set, {change(ends.ours.get(), EVFILT_READ, EV_ADD, 0, 0, &mark)}) == 0);
  CHECK(take(set).empty());
  put(ends.theirs, "abc");
  for (int round = 0; round < 2; ++round) {
    const Events events = take(set);
    REQUIRE(events.size() == 1);
    CHECK(events[0].ident == static_cast<std::uintptr_t>(ends.ours.get()));
    CHECK(events[0].filter == EVFILT_READ);
    CHECK(events[0].data == 3);
    CHECK(events[0].udata == &mark);
    CHECK((events[0].flags & EV_EOF) == 0);
  }
  takeBytes(ends.ours);
  CHECK(take(set).empty());
}

TEST("EV_CLEAR tells each arrival once") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  REQUIRE(apply(set, {change(ends.ours.get(), EVFILT_READ, EV_ADD | EV_CLEAR)}) == 0);
  put(ends.theirs, "a");
  CHECK(take(set).size() == 1);
  CHECK(take(set).empty());
  CHECK(!isReadable(set.get()));
  put(ends.theirs, "b");
  CHECK(take(set).size() == 1);
}

TEST("an event that found no room is told by the next call, EV_CLEAR or not") {
  for (const int mode : {0, EV_CLEAR}) {
    const UniqueFd set(::kqueue());
    const Ends ends = makeSockets();
    put(ends.theirs, "a");
    REQUIRE(apply(set, {change(ends.ours.get(), EVFILT_READ, EV_ADD | mode),
                        change(ends.ours.get(), EVFILT_WRITE, EV_ADD | mode)}) == 0);
    const Events first = take(set, kAtOnce, 1);
    const Events second = take(set, kAtOnce, 1);
    REQUIRE(first.size() == 1 && second.size() == 1);
    CHECK(first[0].filter != second[0].filter);
  }
}

TEST("the filters of two descriptors are not listed side by side") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  put(ends.ours, "a");
  put(ends.theirs, "a");
  for (const int fd : {ends.ours.get(), ends.theirs.get()})
    REQUIRE(apply(set, {change(fd, EVFILT_READ, EV_ADD), change(fd, EVFILT_WRITE, EV_ADD)}) == 0);
  const Events events = take(set);
  REQUIRE(events.size() == 4);
  CHECK(events[0].ident != events[1].ident);
  CHECK(events[2].ident != events[3].ident);
}

TEST("EV_ONESHOT is gone after its event, EV_DISPATCH is silent until EV_ENABLE") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  const int fd = ends.ours.get();
  put(ends.theirs, "a");
  REQUIRE(apply(set, {change(fd, EVFILT_READ, EV_ADD | EV_ONESHOT)}) == 0);
  CHECK(take(set).size() == 1);
  CHECK(apply(set, {change(fd, EVFILT_READ, EV_DELETE)}) == ENOENT);
  REQUIRE(apply(set, {change(fd, EVFILT_READ, EV_ADD | EV_DISPATCH)}) == 0);
  CHECK(take(set).size() == 1);
  CHECK(take(set).empty());
  CHECK(apply(set, {change(fd, EVFILT_READ, EV_ENABLE)}) == 0);
  CHECK(take(set).size() == 1);
  CHECK(apply(set, {change(fd, EVFILT_READ, EV_DELETE)}) == 0);
}

TEST("a disabled filter is known and silent, and leaves its sibling alone") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  const int fd = ends.ours.get();
  put(ends.theirs, "a");
  REQUIRE(apply(set, {change(fd, EVFILT_READ, EV_ADD), change(fd, EVFILT_WRITE, EV_ADD),
                      change(fd, EVFILT_WRITE, EV_DISABLE)}) == 0);
  const Events events = take(set);
  REQUIRE(events.size() == 1);
  CHECK(events[0].filter == EVFILT_READ);
  REQUIRE(apply(set, {change(fd, EVFILT_WRITE, EV_ENABLE)}) == 0);
  CHECK(take(set).size() == 2);
}

TEST("adding again changes udata and leaves the mode as it was") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  int mark = 0;
  put(ends.theirs, "a");
  REQUIRE(apply(set, {change(ends.ours.get(), EVFILT_READ, EV_ADD),
                      change(ends.ours.get(), EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, &mark)}) == 0);
  CHECK(take(set).size() == 1);
  const Events events = take(set);
  REQUIRE(events.size() == 1);
  CHECK(events[0].udata == &mark);
}

TEST("the end of a stream is EV_EOF on read with the bytes before it counted") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  REQUIRE(apply(set, {change(ends.ours.get(), EVFILT_READ, EV_ADD)}) == 0);
  put(ends.theirs, "abc");
  ::shutdown(ends.theirs.get(), SHUT_WR);
  Events events = take(set);
  REQUIRE(events.size() == 1);
  CHECK((events[0].flags & EV_EOF) != 0);
  CHECK(events[0].data == 3);
  CHECK(events[0].fflags == 0);
  takeBytes(ends.ours);
  events = take(set);
  REQUIRE(events.size() == 1);
  CHECK((events[0].flags & EV_EOF) != 0);
  CHECK(events[0].data == 0);
}

TEST("a pipe's ends tell each other's end as EV_EOF") {
  for (const bool watchReader : {true, false}) {
    const UniqueFd set(::kqueue());
    Ends ends = makePipe();
    const UniqueFd& watched = watchReader ? ends.ours : ends.theirs;
    const int filter = watchReader ? EVFILT_READ : EVFILT_WRITE;
    REQUIRE(apply(set, {change(watched.get(), filter, EV_ADD)}) == 0);
    {
      const UniqueFd gone = std::move(watchReader ? ends.theirs : ends.ours);
    }
    const Events events = take(set);
    REQUIRE(events.size() == 1);
    CHECK((events[0].flags & EV_EOF) != 0);
    CHECK(events[0].fflags == 0);
  }
}

TEST("a refused connection is EV_EOF with an error in fflags, and leaves SO_ERROR to be read") {
  const UniqueFd set(::kqueue());
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0));
  REQUIRE(listener && client);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), generic, size) == 0);  // bound, not listening: refuses
  REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
  CHECK(::connect(client.get(), generic, size) < 0 && errno == EINPROGRESS);
  REQUIRE(apply(set, {change(client.get(), EVFILT_WRITE, EV_ADD)}) == 0);
  const Events events = take(set, kLong);
  REQUIRE(events.size() == 1);
  CHECK((events[0].flags & EV_EOF) != 0);
  CHECK(events[0].fflags != 0);
  int error = 0;
  socklen_t errorSize = sizeof error;
  ::getsockopt(client.get(), SOL_SOCKET, SO_ERROR, &error, &errorSize);
  CHECK(error == ECONNREFUSED);
}

TEST("EVFILT_EXCEPT tells urgent data") {
  const UniqueFd set(::kqueue());
  const UniqueFd listener(::socket(AF_INET, SOCK_STREAM, 0));
  const UniqueFd client(::socket(AF_INET, SOCK_STREAM, 0));
  REQUIRE(listener && client);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), generic, size) == 0 && ::listen(listener.get(), 1) == 0);
  REQUIRE(::getsockname(listener.get(), generic, &size) == 0);
  REQUIRE(::connect(client.get(), generic, size) == 0);
  const UniqueFd server(::accept(listener.get(), nullptr, nullptr));
  REQUIRE(apply(set, {change(server.get(), EVFILT_EXCEPT, EV_ADD, NOTE_OOB)}) == 0);
  CHECK(take(set).empty());
  CHECK(::send(client.get(), "!", 1, MSG_OOB) == 1);
  const Events events = take(set, kLong);
  REQUIRE(events.size() == 1);
  CHECK(events[0].filter == EVFILT_EXCEPT);
  CHECK(events[0].fflags == NOTE_OOB);
}

TEST("closing a number forgets it, though a duplicate of the file lives on") {
  const UniqueFd set(::kqueue());
  Ends ends = makeSockets();
  const int number = ends.ours.get();
  const UniqueFd duplicate(::dup(number));
  REQUIRE(apply(set, {change(number, EVFILT_READ, EV_ADD)}) == 0);
  put(ends.theirs, "a");
  {
    const UniqueFd gone = std::move(ends.ours);
  }
  CHECK(take(set).empty());
  CHECK(!isReadable(set.get()));
  CHECK(apply(set, {change(number, EVFILT_READ, EV_DELETE)}) == EBADF);
  REQUIRE(::dup2(ends.theirs.get(), number) == number);
  const UniqueFd reused(number);
  CHECK(apply(set, {change(number, EVFILT_READ, EV_ENABLE)}) == ENOENT);
}

TEST("a refused change is the call's error without room for it, an event with EV_ERROR with") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  const int fd = ends.ours.get();
  CHECK(apply(set, {change(fd, EVFILT_READ, EV_DELETE)}) == ENOENT);
  CHECK(apply(set, {change(1 << 20, EVFILT_READ, EV_ADD)}) == EBADF);
  CHECK(apply(set, {change(fd, 1, EV_ADD)}) == EINVAL);
  std::array changes{change(fd, EVFILT_READ, EV_DELETE), change(fd, EVFILT_WRITE, EV_ADD)};
  std::array<struct kevent, 4> answers{};
  REQUIRE(::kevent(set.get(), changes.data(), 2, answers.data(), 4, nullptr) == 1);
  CHECK((answers[0].flags & EV_ERROR) != 0);
  CHECK(answers[0].data == ENOENT);
  CHECK(take(set).size() == 1);  // the change after the refused one was made
}

TEST("EV_RECEIPT answers every change with 0 or its errno, and takes no event") {
  const UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  const int fd = ends.ours.get();
  std::array changes{change(fd, EVFILT_WRITE, EV_ADD | EV_RECEIPT),
                     change(fd, EVFILT_READ, EV_DELETE | EV_RECEIPT)};
  std::array<struct kevent, 8> answers{};
  REQUIRE(::kevent(set.get(), changes.data(), 2, answers.data(), 8, nullptr) == 2);
  CHECK((answers[0].flags & answers[1].flags & EV_ERROR) != 0);
  CHECK(answers[0].data == 0);
  CHECK(answers[1].data == ENOENT);
}

TEST("what is no kqueue is EBADF") {
  const Ends ends = makeSockets();
  CHECK(apply(ends.ours, {}) == EBADF);
  CHECK(apply(UniqueFd(), {}) == EBADF);
}

TEST("a timer fires no sooner than its nanoseconds, and counts how often since") {
  const UniqueFd set(::kqueue());
  const auto started = ioloop::monotonicNow();
  REQUIRE(apply(set, {change(7, EVFILT_TIMER, EV_ADD, NOTE_USECONDS, 1500)}) == 0);
  CHECK(!isReadable(set.get()));
  Events events = take(set, kLong);
  CHECK(ioloop::monotonicNow() - started >= 1500us);
  REQUIRE(events.size() == 1);
  CHECK(events[0].ident == 7);
  CHECK(events[0].data >= 1);
  CHECK(take(set, kLong).size() == 1);
  CHECK(ioloop::monotonicNow() - started >= 3000us);
}

TEST("a one-shot timer makes the set readable until it is taken, and is gone then") {
  const UniqueFd set(::kqueue());
  REQUIRE(apply(set, {change(7, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS, 1)}) == 0);
  pollfd readable{.fd = set.get(), .events = POLLIN, .revents = 0};
  REQUIRE(::poll(&readable, 1, 10'000) == 1);
  CHECK(isReadable(set.get()));
  CHECK(take(set).size() == 1);
  CHECK(!isReadable(set.get()));
  CHECK(apply(set, {change(7, EVFILT_TIMER, EV_DELETE)}) == ENOENT);
}

TEST("a deleted timer does not fire") {
  const UniqueFd set(::kqueue());
  REQUIRE(apply(set, {change(7, EVFILT_TIMER, EV_ADD, NOTE_NSECONDS, 1),
                      change(7, EVFILT_TIMER, EV_DELETE)}) == 0);
  CHECK(!isReadable(set.get()));
  CHECK(take(set).empty());
}

TEST("a user event waits for NOTE_TRIGGER and combines its flags") {
  const UniqueFd set(::kqueue());
  REQUIRE(apply(set, {change(1, EVFILT_USER, EV_ADD | EV_CLEAR, NOTE_FFCOPY | 0x5u)}) == 0);
  CHECK(take(set).empty());
  REQUIRE(apply(set, {change(1, EVFILT_USER, 0, NOTE_FFOR | NOTE_TRIGGER | 0x2u)}) == 0);
  CHECK(isReadable(set.get()));
  const Events events = take(set, kLong);
  REQUIRE(events.size() == 1);
  CHECK(events[0].fflags == 0x7u);
  CHECK(take(set).empty());
  REQUIRE(apply(set, {change(1, EVFILT_USER, 0, NOTE_FFAND | NOTE_TRIGGER | 0x3u)}) == 0);
  const Events masked = take(set);
  REQUIRE(masked.size() == 1);
  CHECK(masked[0].fflags == 0x3u);
}

TEST("a set can be watched by another set") {
  const UniqueFd inner(::kqueue());
  const UniqueFd outer(::kqueue());
  const Ends ends = makeSockets();
  REQUIRE(apply(inner, {change(ends.ours.get(), EVFILT_READ, EV_ADD)}) == 0);
  REQUIRE(apply(outer, {change(inner.get(), EVFILT_READ, EV_ADD)}) == 0);
  CHECK(take(outer).empty());
  put(ends.theirs, "a");
  CHECK(take(outer, kLong).size() == 1);
  takeBytes(ends.ours);
  CHECK(take(outer).empty());
}

TEST("a duplicate of a set is the same set, and outlives it") {
  UniqueFd set(::kqueue());
  const Ends ends = makeSockets();
  const UniqueFd duplicate(::dup(set.get()));
  REQUIRE(apply(set, {change(ends.ours.get(), EVFILT_WRITE, EV_ADD)}) == 0);
  CHECK(take(duplicate).size() == 1);
  {
    const UniqueFd gone = std::move(set);
  }
  CHECK(take(duplicate).size() == 1);
}

TEST("closing the last descriptor of a set frees what is behind it") {
  const int before = kevent_emulation::innerDescriptors();
  {
    UniqueFd set(::kqueue());
    const UniqueFd duplicate(::dup(set.get()));
    CHECK(kevent_emulation::innerDescriptors() == before + 1);
    {
      const UniqueFd gone = std::move(set);
    }
    CHECK(kevent_emulation::innerDescriptors() == before + 1);
  }
  CHECK(kevent_emulation::innerDescriptors() == before);
}

TEST("a set closed behind the emulation's back leaves nothing to the next of its number") {
  const Ends ends = makeSockets();
  const int first = ::kqueue();
  const struct kevent watch = change(ends.ours.get(), EVFILT_WRITE, EV_ADD);
  REQUIRE(::kevent(first, &watch, 1, nullptr, 0, nullptr) == 0);
  ::close(first);
  const UniqueFd second(::kqueue());
  CHECK(second.get() == first);
  CHECK(take(second).empty());
}

}  // namespace
