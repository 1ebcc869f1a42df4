#include "test/fault_injector.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <span>
#include <type_traits>

namespace ioloop {
namespace {

/** The table that calls pass on to. */
const SysTable* inner = nullptr;
std::atomic<std::uint64_t> currentSeed{0};
std::atomic<std::uint64_t> currentInjector{0};  // grows with each, so that threads notice
std::atomic<std::uint64_t> nextThread{0};

struct ThreadState {
  std::uint64_t injector;
  SeededRandom random;
};
constinit thread_local ThreadState threadState{0, SeededRandom{}};

void seedFor(std::uint64_t thread) noexcept {
  SeededRandom sequences(currentSeed.load() ^ (thread * 0x9e3779b97f4a7c15));
  threadState = {currentInjector.load(), SeededRandom(sequences.next())};
}

SeededRandom& threadRandom() noexcept {
  if (threadState.injector != currentInjector.load(std::memory_order_relaxed))
    seedFor(nextThread.fetch_add(1));
  return threadState.random;
}

/** Counts a call of `Entry`; whether it fails, with errno set. */
template <auto Entry>
bool fails() noexcept {
  const int code = FaultInjector::faultsOf<Entry>.next(threadRandom());
  if (code == 0) return false;
  errno = code;
  return true;
}

template <auto Entry>
std::size_t shortened(std::size_t size) noexcept {
  return FaultInjector::faultsOf<Entry>.shorten(size, threadRandom());
}

/** An entry that fails or passes on. */
template <auto Entry, typename Function = std::remove_cvref_t<decltype(SysTable{}.*Entry)>>
struct Plain;
template <auto Entry, typename R, typename... Arguments>
struct Plain<Entry, R (*)(Arguments...)> {
  static R call(Arguments... arguments) {
    return fails<Entry>() ? R{-1} : (inner->*Entry)(arguments...);
  }
};

/** read, write: (fd, bytes, size). */
template <auto Entry, typename Bytes>
ssize_t transfer(int fd, Bytes* bytes, std::size_t size) {
  if (fails<Entry>()) return -1;
  return (inner->*Entry)(fd, bytes, shortened<Entry>(size));
}

/** recv, send: (fd, bytes, size, flags). */
template <auto Entry, typename Bytes>
ssize_t transferFlags(int fd, Bytes* bytes, std::size_t size, int flags) {
  if (fails<Entry>()) return -1;
  return (inner->*Entry)(fd, bytes, shortened<Entry>(size), flags);
}

/** recvmsg, sendmsg: only some of the first part. */
template <auto Entry, typename Message>
ssize_t transferMessage(int fd, Message* message, int flags) {
  if (fails<Entry>()) return -1;
  if (message->msg_iovlen == 0) return (inner->*Entry)(fd, message, flags);
  iovec first = message->msg_iov[0];
  const std::size_t size = first.iov_len;
  first.iov_len = shortened<Entry>(size);
  if (first.iov_len == size) return (inner->*Entry)(fd, message, flags);
  msghdr cut = *message;
  cut.msg_iov = &first;
  cut.msg_iovlen = 1;
  const ssize_t result = (inner->*Entry)(fd, &cut, flags);
  if constexpr (!std::is_const_v<Message>) {
    message->msg_namelen = cut.msg_namelen;
    message->msg_controllen = cut.msg_controllen;
    message->msg_flags = cut.msg_flags;
  }
  return result;
}

/** recvmmsg, sendmmsg: only some of the messages. */
template <auto Entry>
int transferBatch(int fd, mmsghdr* messages, unsigned int count, int flags) {
  if (fails<Entry>()) return -1;
  return (inner->*Entry)(fd, messages, static_cast<unsigned int>(shortened<Entry>(count)), flags);
}

ssize_t transferFile(int socket, int file, off_t offset, std::size_t count) {
  constexpr auto kEntry = &SysTable::sendfile;
  return fails<kEntry>() ? -1 : inner->sendfile(socket, file, offset, shortened<kEntry>(count));
}

#if defined(__linux__)
/** An event that a wait of the calling thread has reported, for a later one to report again. */
struct ReportedEvent {
  std::uint64_t injector;
  int set;
  epoll_event event;
};
constinit thread_local ReportedEvent reportedEvent{0, -1, {}};

bool holds(std::span<const epoll_event> events, const epoll_event& event) noexcept {
  return std::ranges::any_of(
      events, [&](const epoll_event& each) { return each.data.u64 == event.data.u64; });
}
#endif

int closeAnyway(int fd) {
#if defined(__linux__)
  // The number may be another set's next, which knows nothing of this one's events.
  if (reportedEvent.set == fd) reportedEvent.set = -1;
#endif
  const int code = FaultInjector::faultsOf<&SysTable::close>.next(threadRandom());
  const int result = inner->close(fd);
  if (code == 0 || result < 0) return result;
  errno = code;
  return -1;
}

#if defined(__linux__)
template <auto Entry, typename Limit>
int waitReordered(int set, epoll_event* events, int count, Limit limit) {
  EntryFaults& faults = FaultInjector::faultsOf<Entry>;
  if (fails<Entry>()) return -1;
  int ready = (inner->*Entry)(set, events, count, limit);
  if (ready < 0) return ready;
  const std::span<epoll_event> reported(events, static_cast<std::size_t>(ready));
  ReportedEvent& earlier = reportedEvent;
  const bool known = earlier.injector == currentInjector && earlier.set == set;
  if (ready < count && known && !holds(reported, earlier.event) && faults.repeats(threadRandom()))
    events[ready++] = earlier.event;
  if (ready > 1 && faults.reorders(threadRandom()))
    threadRandom().shuffle(std::span(events, static_cast<std::size_t>(ready)));
  if (ready > 0) earlier = {currentInjector, set, events[0]};
  return ready;
}
#endif

template <auto Entry>
void put(SysTable& table, decltype(SysTable{}.*Entry) function) {
  table.*Entry = function;
  FaultInjector::faultsOf<Entry>.reset();
}

template <auto... Entries>
void putPlain(SysTable& table) {
  (put<Entries>(table, Plain<Entries>::call), ...);
}

void wrap(SysTable& table) {
  using T = SysTable;
  putPlain<&T::fcntl, &T::fstat, &T::dup3, &T::pipe2, &T::clockGettime, &T::socket, &T::bind,
           &T::listen, &T::accept4, &T::connect, &T::shutdown, &T::getsockopt, &T::setsockopt,
           &T::getsockname, &T::getpeername, &T::poll, &T::select, &T::kqueue, &T::kevent,
           &T::pread, &T::ioctl, &T::open, &T::lstat, &T::chmod, &T::fchmod, &T::unlink,
           &T::socketpair, &T::getifaddrs>(table);
  put<&T::close>(table, closeAnyway);
  put<&T::read>(table, transfer<&T::read, void>);
  put<&T::write>(table, transfer<&T::write, const void>);
  put<&T::quietWrite>(table, transfer<&T::quietWrite, const void>);
  put<&T::sendfile>(table, transferFile);
  put<&T::recv>(table, transferFlags<&T::recv, void>);
  put<&T::send>(table, transferFlags<&T::send, const void>);
  put<&T::recvmsg>(table, transferMessage<&T::recvmsg, msghdr>);
  put<&T::sendmsg>(table, transferMessage<&T::sendmsg, const msghdr>);
  put<&T::recvmmsg>(table, transferBatch<&T::recvmmsg>);
  put<&T::sendmmsg>(table, transferBatch<&T::sendmmsg>);
#if defined(__linux__)
  putPlain<&T::epollCreate, &T::epollCtl, &T::eventfd, &T::timerfdCreate, &T::timerfdSettime,
           &T::inotifyInit, &T::inotifyAddWatch>(table);
  put<&T::epollWait>(table, waitReordered<&T::epollWait, int>);
  put<&T::epollPwait2>(table, waitReordered<&T::epollPwait2, const timespec*>);
#endif
}

struct NamedFaults {
  std::string_view name;
  EntryFaults& faults;
};

template <auto Entry>
NamedFaults named(std::string_view name) noexcept {
  return {name, FaultInjector::faultsOf<Entry>};
}

const std::array kNamed{
    named<&SysTable::close>("close"),
    named<&SysTable::read>("read"),
    named<&SysTable::write>("write"),
    named<&SysTable::quietWrite>("quietWrite"),
    named<&SysTable::sendfile>("sendfile"),
    named<&SysTable::recv>("recv"),
    named<&SysTable::send>("send"),
    named<&SysTable::recvmsg>("recvmsg"),
    named<&SysTable::sendmsg>("sendmsg"),
    named<&SysTable::recvmmsg>("recvmmsg"),
    named<&SysTable::sendmmsg>("sendmmsg"),
    named<&SysTable::socket>("socket"),
    named<&SysTable::bind>("bind"),
    named<&SysTable::listen>("listen"),
    named<&SysTable::accept4>("accept4"),
    named<&SysTable::connect>("connect"),
    named<&SysTable::shutdown>("shutdown"),
    named<&SysTable::getsockopt>("getsockopt"),
    named<&SysTable::setsockopt>("setsockopt"),
    named<&SysTable::ioctl>("ioctl"),
    named<&SysTable::fcntl>("fcntl"),
    named<&SysTable::poll>("poll"),
    named<&SysTable::select>("select"),
#if defined(__linux__)
    named<&SysTable::epollCtl>("epollCtl"),
    named<&SysTable::epollWait>("epollWait"),
    named<&SysTable::epollPwait2>("epollPwait2"),
    named<&SysTable::timerfdSettime>("timerfdSettime"),
#endif
};

}  // namespace

EntryFaults* FaultInjector::find(std::string_view name) noexcept {
  const auto found = std::ranges::find(kNamed, name, &NamedFaults::name);
  return found == kNamed.end() ? nullptr : &found->faults;
}

void EntryFaults::failCall(std::uint64_t k, int code) noexcept {
  failAtCode_ = code;
  failAt_ = calls_ + k;
}

void EntryFaults::failRandomly(double probability, int code) noexcept {
  const auto has = [](int wanted) {
    return [wanted](const RandomFailure& failure) { return failure.code == wanted; };
  };
  auto row = std::ranges::find_if(failures_, has(code));
  if (row == failures_.end()) row = std::ranges::find_if(failures_, has(0));
  if (row == failures_.end()) row = failures_.begin();
  row->code = code;
  row->below = threshold(probability);
  failsRandomly_ = true;
}

void EntryFaults::reset() noexcept {
  calls_ = faults_ = failAt_ = shortenBelow_ = reorderBelow_ = repeatBelow_ = 0;
  failsRandomly_ = false;
  for (RandomFailure& failure : failures_) {
    failure.code = 0;
    failure.below = 0;
  }
}

/** One draw decides between all codes; none is made where nothing fails. */
int EntryFaults::drawFailure(SeededRandom& random) const noexcept {
  if (!failsRandomly_.load(std::memory_order_relaxed)) return 0;
  std::uint64_t draw = random.next() >> 11;
  for (const RandomFailure& failure : failures_) {
    const std::uint64_t bound = failure.below.load(std::memory_order_relaxed);
    if (draw < bound) return failure.code.load(std::memory_order_relaxed);
    draw -= bound;
  }
  return 0;
}

int EntryFaults::next(SeededRandom& random) noexcept {
  const std::uint64_t number = calls_.fetch_add(1, std::memory_order_relaxed) + 1;
  int code = 0;
  if (number == failAt_.load(std::memory_order_relaxed))
    code = failAtCode_.load(std::memory_order_relaxed);
  else
    code = drawFailure(random);
  if (code != 0) faults_.fetch_add(1, std::memory_order_relaxed);
  return code;
}

std::size_t EntryFaults::shorten(std::size_t size, SeededRandom& random) noexcept {
  if (size < 2 || !drawn(shortenBelow_, random)) return size;
  faults_.fetch_add(1, std::memory_order_relaxed);
  // Of all magnitudes alike: who asks for 64 KiB has seldom more than a line waiting.
  const auto magnitude = random.below(static_cast<std::uint64_t>(std::bit_width(size - 1)));
  return 1 + static_cast<std::size_t>(random.below(((size - 2) >> magnitude) + 1));
}

bool EntryFaults::counted(const std::atomic<std::uint64_t>& below, SeededRandom& random) noexcept {
  if (!drawn(below, random)) return false;
  faults_.fetch_add(1, std::memory_order_relaxed);
  return true;
}

FaultInjector::FaultInjector(std::uint64_t seed) : before_(sys()), table_(before_) {
  wrap(table_);
  inner = &before_;
  nextThread = 0;
  currentSeed = seed;
  ++currentInjector;
  installSys(table_);
}

FaultInjector::~FaultInjector() {
  if (&installSys(before_) == &table_) return;
  std::fputs("FaultInjector: another table was installed on top of it\n", stderr);
  std::abort();
}

void FaultInjector::seedThread(std::uint64_t index) noexcept { seedFor(index); }

}  // namespace ioloop
