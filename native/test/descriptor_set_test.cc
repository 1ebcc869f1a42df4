#include "core/descriptor_set.h"

#include <climits>
#include <set>
#include <vector>

#include "core/sim/seeded_random.h"
#include "core/sim/sim_network.h"
#include "test/check.h"

namespace ioloop {
namespace {

std::vector<int> numbersOf(const DescriptorSet& set) {
  std::vector<int> numbers;
  set.forEach([&](int fd) { numbers.push_back(fd); });
  return numbers;
}

TEST("what is inserted is there until it is erased, once") {
  DescriptorSet set;
  for (const int fd : {0, 63, 64, 4095, 4096, kFirstSimFd, kFirstSimFd + kSimFdsPerNetwork}) {
    CHECK(!set.contains(fd));
    CHECK(!set.erase(fd));
    set.insert(fd);
    set.insert(fd);
    CHECK(set.contains(fd));
    CHECK(set.erase(fd));
    CHECK(!set.contains(fd));
    CHECK(!set.erase(fd));
  }
  CHECK(numbersOf(set).empty());
}

TEST("what is no descriptor is in no set") {
  const DescriptorSet set;
  for (const int fd : {-1, INT_MIN, INT_MAX}) CHECK(!set.contains(fd));
}

TEST("a set visits its numbers in order, lowest first, whatever was done to it") {
  SeededRandom random(7);
  DescriptorSet set;
  std::set<int> model;
  for (int step = 0; step < 20'000; ++step) {
    const int fd = static_cast<int>(random.below(5000)) + (random.chance(0.1) ? kFirstSimFd : 0);
    if (random.chance(0.5)) {
      set.insert(fd);
      model.insert(fd);
    } else {
      CHECK(set.erase(fd) == (model.erase(fd) == 1));
    }
  }
  CHECK(!model.empty());
  CHECK(numbersOf(set) == std::vector<int>(model.begin(), model.end()));
}

}  // namespace
}  // namespace ioloop
