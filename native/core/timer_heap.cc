#include "core/timer_heap.h"

#include <algorithm>

namespace ioloop {
namespace {

constexpr std::size_t kArity = 4;
constexpr std::uint32_t kNotInHeap = ~std::uint32_t{0};

constexpr std::size_t parentOf(std::size_t index) noexcept { return (index - 1) / kArity; }
constexpr std::size_t firstChildOf(std::size_t index) noexcept { return index * kArity + 1; }

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
    heap_.emplace_back();
    siftUp(heap_.size() - 1, entry);
  } else if (entry.before(heap_[place])) {
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
  while (count < due.size() && !heap_.empty() && heap_.front().deadline <= now) {
    due[count++] = heap_.front().id;
    removeAt(0);
  }
  return count;
}

std::optional<Instant> TimerHeap::earliest() const noexcept {
  if (heap_.empty()) return std::nullopt;
  return heap_.front().deadline;
}

bool TimerHeap::pending(TimerId id) const noexcept {
  return id < places_.size() && places_[id] != kNotInHeap;
}

void TimerHeap::place(std::size_t index, const Entry& entry) noexcept {
  heap_[index] = entry;
  places_[entry.id] = static_cast<std::uint32_t>(index);
}

void TimerHeap::siftUp(std::size_t index, Entry entry) noexcept {
  while (index > 0 && entry.before(heap_[parentOf(index)])) {
    place(index, heap_[parentOf(index)]);
    index = parentOf(index);
  }
  place(index, entry);
}

void TimerHeap::siftDown(std::size_t index, Entry entry) noexcept {
  for (;;) {
    const std::size_t first = firstChildOf(index);
    if (first >= heap_.size()) break;
    const std::size_t end = std::min(first + kArity, heap_.size());
    std::size_t least = first;
    for (std::size_t child = first + 1; child < end; ++child)
      if (heap_[child].before(heap_[least])) least = child;
    if (!heap_[least].before(entry)) break;
    place(index, heap_[least]);
    index = least;
  }
  place(index, entry);
}

void TimerHeap::removeAt(std::size_t index) noexcept {
  places_[heap_[index].id] = kNotInHeap;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (index == heap_.size()) return;
  if (index > 0 && last.before(heap_[parentOf(index)]))
    siftUp(index, last);
  else
    siftDown(index, last);
}

}  // namespace ioloop
