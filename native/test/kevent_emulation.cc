#if defined(IOLOOP_EMULATE_KQUEUE)

#include "test/kevent_emulation.h"

#include <dirent.h>
#include <poll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "test/emulated_kqueue.h"

namespace kevent_emulation {
namespace {

/** Every kqueue of the process, found by any descriptor of it: dup(2) makes several. */
class Registry {
 public:
  static Registry& get() {
    static Registry registry;
    return registry;
  }

  int create() {
    const std::lock_guard lock(mutex_);
    reap();
    const int timer = ::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (timer < 0) return -1;
    auto queue = std::make_shared<Kqueue>(timer);
    const int set = ::epoll_create1(0);
    if (set < 0) return -1;
    epoll_event event{.events = EPOLLIN, .data = {.u64 = Kqueue::kTimerTag}};
    ::epoll_ctl(set, EPOLL_CTL_ADD, timer, &event);
    queues_.push_back(std::move(queue));
    return set;
  }

  std::shared_ptr<Kqueue> find(int set) {
    const std::lock_guard lock(mutex_);
    const auto found =
        std::ranges::find_if(queues_, [&](const auto& queue) { return queue->owns(set); });
    return found == queues_.end() ? nullptr : *found;
  }

  /** Forgets the kqueues that no descriptor leads to any more. */
  void reap() {
    std::vector<int> numbers;
    if (queues_.empty()) return;
    DIR* listing = ::opendir("/proc/self/fd");
    if (listing == nullptr) return;
    // The directory stream is this call's own. NOLINTNEXTLINE(concurrency-mt-unsafe)
    while (const dirent* entry = ::readdir(listing)) numbers.push_back(std::atoi(entry->d_name));
    ::closedir(listing);
    std::erase_if(queues_, [&](const auto& queue) {
      return std::ranges::none_of(numbers, [&](int number) { return queue->owns(number); });
    });
  }

  int close(int fd) {
    const bool isQueue = find(fd) != nullptr;
    const int result = ::close(fd);
    if (!isQueue) return result;
    const std::lock_guard lock(mutex_);
    reap();
    return result;
  }

  int size() {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(queues_.size());
  }

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<Kqueue>> queues_;
};

/** Makes the changes in order. Returns how many answers went to `answers`, or -1 with errno. */
int applyAll(Kqueue& queue, int set, std::span<const KernelEvent> changes,
             std::span<KernelEvent> answers) {
  std::size_t count = 0;
  for (KernelEvent change : changes) {
    const int code = queue.apply(set, change);
    if (code == 0 && (change.flags & EV_RECEIPT) == 0) continue;
    if (count == answers.size()) {
      errno = code;
      return code == 0 ? 0 : -1;
    }
    change.flags = EV_ERROR;
    change.data = code;
    answers[count++] = change;
  }
  return static_cast<int>(count);
}

}  // namespace

int close(int fd) { return Registry::get().close(fd); }

int innerDescriptors() { return Registry::get().size(); }

}  // namespace kevent_emulation

int kqueue() { return kevent_emulation::Registry::get().create(); }

int kevent(int set, const struct kevent* changes, int changeCount, struct kevent* events,
           int eventCount, const timespec* timeout) {
  using namespace kevent_emulation;
  const auto queue = Registry::get().find(set);
  if (!queue) {
    errno = EBADF;
    return -1;
  }
  const std::span out(events, static_cast<std::size_t>(eventCount));
  const int answers =
      applyAll(*queue, set, std::span(changes, static_cast<std::size_t>(changeCount)), out);
  if (answers != 0 || out.empty()) return answers;
  std::optional<Nanoseconds> deadline;
  if (timeout != nullptr)
    deadline = later(now(), std::chrono::seconds{timeout->tv_sec} + Nanoseconds{timeout->tv_nsec});
  for (;;) {
    const int count = queue->collect(set, out);
    if (count != 0) return count;
    const Nanoseconds left = deadline ? *deadline - now() : Nanoseconds{0};
    if (deadline && left <= Nanoseconds{0}) return 0;
    const timespec spec = toTimespec(left);
    pollfd readable{.fd = set, .events = POLLIN, .revents = 0};
    if (::ppoll(&readable, 1, deadline ? &spec : nullptr, nullptr) < 0) return -1;
  }
}

#endif
