#include "core/timer_heap.h"

#include <algorithm>

namespace ioloop {
namespace {

constexpr std::uint32_t kNotInHeap = ~std::uint32_t{0};

}  // namespace

TimerId TimerHeap::schedule(Instant deadline) {
  TimerId id = 0;
  if (free_.empty()) {
    id = static_cast<TimerId>(places_.size());
    places_.push_back(kNotInHeap);
  } else {
    id = free_.back();
    free_.pop_back();
  }
  reschedule(id, deadline);
  return id;
}

void TimerHeap::put(TimerId id, Instant deadline) {
  if (id >= places_.size())
    places_.resize(std::max<std::size_t>(id + 1, 2 * places_.size()), kNotInHeap);
  reschedule(id, deadline);
}

bool TimerHeap::remove(TimerId id) noexcept {
  if (!pending(id)) return false;
  removeAt(places_[id]);
  return true;
}

void TimerHeap::reschedule(TimerId id, Instant deadline) {
  const Entry entry{deadline, nextSequence_++, id};
  const std::uint32_t place = places_[id];
  if (place == kNotInHeap) {
    if (size_ + kArity > lines_.size() * kArity) lines_.emplace_back();
    siftUp(size_++, entry);
  } else if (entry.before(at(place))) {
    siftUp(place, entry);
  } else {
    siftDown(place, entry);
  }
}

void TimerHeap::release(TimerId id) noexcept {
  if (places_[id] != kNotInHeap) removeAt(places_[id]);
  free_.push_back(id);
}

std::size_t TimerHeap::popDue(Instant now, std::span<TimerId> due) noexcept {
  std::size_t count = 0;
  while (count < due.size() && size_ != 0 && at(0).deadline <= now) {
    due[count++] = at(0).id;
    removeAt(0);
  }
  return count;
}

std::optional<Instant> TimerHeap::earliest() const noexcept {
  if (size_ == 0) return std::nullopt;
  return at(0).deadline;
}

bool TimerHeap::pending(TimerId id) const noexcept {
  return id < places_.size() && places_[id] != kNotInHeap;
}

void TimerHeap::place(std::size_t index, const Entry& entry) noexcept {
  at(index) = entry;
  places_[entry.id] = static_cast<std::uint32_t>(index);
}

void TimerHeap::siftUp(std::size_t index, Entry entry) noexcept {
  while (index > 0 && entry.before(at(parentOf(index)))) {
    place(index, at(parentOf(index)));
    index = parentOf(index);
  }
  place(index, entry);
}

void TimerHeap::siftDown(std::size_t index, Entry entry) noexcept {
  for (;;) {
    const std::size_t first = firstChildOf(index);
    if (first >= size_) break;
    const std::size_t end = std::min(first + kArity, size_);
    // The children of these four stand side by side: let them come while these are compared.
    const std::size_t next = firstChildOf(first);
    if (next + kArity * kArity <= size_)
      for (std::size_t child = next; child < next + kArity * kArity; child += kArity)
        __builtin_prefetch(&at(child));
    std::size_t least = first;
    for (std::size_t child = first + 1; child < end; ++child)
      if (at(child).before(at(least))) least = child;
    if (!at(least).before(entry)) break;
    place(index, at(least));
    index = least;
  }
  place(index, entry);
}

void TimerHeap::removeAt(std::size_t index) noexcept {
  places_[at(index).id] = kNotInHeap;
  const Entry last = at(size_ - 1);
  --size_;
  if (index == size_) return;
  if (index > 0 && last.before(at(parentOf(index))))
    siftUp(index, last);
  else
    siftDown(index, last);
}

}  // namespace ioloop
