#include "connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>

#include <array>
#include <cerrno>
#include <span>

namespace ioloop::bench {
namespace {

constexpr const char* kWrongBytes = "the server sent bytes that nobody expected";
constexpr const char* kClosed = "the server closed a connection in the middle of its answers";
constexpr const char* kReceiveFailed = "recv failed";

// One buffer serves all connections: they are served one after the other.
std::array<std::byte, std::size_t{256} * 1024> receiveBuffer;

}  // namespace

Connection::Connection(const Target& target, std::unique_ptr<Protocol> protocol,
                       std::size_t pipeline, std::size_t index) noexcept
    : target_(target), protocol_(std::move(protocol)), pipeline_(pipeline), index_(index) {}

const char* Connection::connect() {
  sentAt_ = std::chrono::steady_clock::now();
  Result<UniqueFd> connected = target_.connect(index_);
  if (!connected) {
    errno = connected.error().code;
    return connected.error().call;
  }
  fd_ = std::move(*connected);
  return nullptr;
}

const char* Connection::roundTrip() {
  if (!fd_) {
    if (const char* failure = connect(); failure != nullptr) return failure;
  }
  constexpr timeval kPatience{.tv_sec = 10, .tv_usec = 0};
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVTIMEO, &kPatience, sizeof kPatience) < 0)
    return "setsockopt";
  out_.clear();
  protocol_->request(out_);
  if (::send(fd_.get(), out_.data(), out_.size(), MSG_NOSIGNAL) !=
      static_cast<ssize_t>(out_.size()))
    return "send failed";
  for (;;) {
    const ssize_t size = ::recv(fd_.get(), receiveBuffer.data(), receiveBuffer.size(), 0);
    if (size < 0) return kReceiveFailed;
    if (size == 0) return kClosed;
    const auto finished =
        protocol_->receive(std::span(receiveBuffer).first(static_cast<std::size_t>(size)));
    if (!finished) return kWrongBytes;
    if (*finished == 1) return nullptr;
  }
}

const char* Connection::start(int set, std::uint64_t tag) {
  set_ = set;
  tag_ = tag;
  if (const char* failure = connect(); failure != nullptr) return failure;
  if (const char* failure = join(); failure != nullptr) return failure;
  return sendBatch();
}

const char* Connection::join() {
  wantsWrite_ = false;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = tag_}};
  return ::epoll_ctl(set_, EPOLL_CTL_ADD, fd_.get(), &event) < 0 ? "epoll_ctl" : nullptr;
}

const char* Connection::sendBatch() {
  out_.clear();
  sent_ = 0;
  for (std::size_t i = 0; i < pipeline_; ++i) protocol_->request(out_);
  outstanding_ = pipeline_;
  return flush();
}

const char* Connection::flush() {
  while (sent_ < out_.size()) {
    const ssize_t size =
        ::send(fd_.get(), out_.data() + sent_, out_.size() - sent_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (size < 0 && errno != EAGAIN) return "send failed";
    if (size < 0) break;
    sent_ += static_cast<std::size_t>(size);
  }
  const bool wantsWrite = sent_ < out_.size();
  if (wantsWrite == wantsWrite_) return nullptr;
  wantsWrite_ = wantsWrite;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = tag_}};
  if (wantsWrite) event.events |= EPOLLOUT;
  return ::epoll_ctl(set_, EPOLL_CTL_MOD, fd_.get(), &event) < 0 ? "epoll_ctl" : nullptr;
}

const char* Connection::next() {
  if (!protocol_->closesAfterBatch()) return sendBatch();
  fd_ = UniqueFd();
  if (const char* failure = connect(); failure != nullptr) return failure;
  if (const char* failure = join(); failure != nullptr) return failure;
  return sendBatch();
}

Progress Connection::serve(std::uint32_t events) {
  if ((events & EPOLLOUT) != 0) {
    if (const char* failure = flush(); failure != nullptr) return {.failure = failure};
  }
  const ssize_t size = ::recv(fd_.get(), receiveBuffer.data(), receiveBuffer.size(), MSG_DONTWAIT);
  if (size < 0 && errno == EAGAIN) return {};
  if (size < 0) return {.failure = kReceiveFailed};
  if (size == 0) return {.failure = kClosed};
  const auto finished =
      protocol_->receive(std::span(receiveBuffer).first(static_cast<std::size_t>(size)));
  if (!finished || *finished > outstanding_) return {.failure = kWrongBytes};

  const SteadyTime now = std::chrono::steady_clock::now();
  Progress progress{.finished = *finished, .latency = now - sentAt_};
  outstanding_ -= *finished;
  if (outstanding_ == 0) {
    sentAt_ = now;
    progress.failure = next();
  }
  return progress;
}

}  // namespace ioloop::bench
