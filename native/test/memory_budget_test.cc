#include "core/memory_budget.h"

#include <thread>
#include <vector>

#include "test/check.h"

namespace ioloop {
namespace {

TEST("threads add to one total, and nothing is lost between them") {
  MemoryBudget& budget = MemoryBudget::ofProcess();
  const std::int64_t before = budget.add(0);
  std::vector<std::thread> threads;
  threads.reserve(4);
  for (int thread = 0; thread < 4; ++thread)
    threads.emplace_back([&] {
      for (int step = 0; step < 10'000; ++step) {
        budget.add(1'000'000);
        budget.add(-999'999);
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(budget.add(0) == before + 40'000);
  CHECK(budget.add(-40'000) == before);
}

TEST("the limit is what was set last, and refuses nothing") {
  MemoryBudget& budget = MemoryBudget::ofProcess();
  CHECK(budget.limit() == 0);
  budget.setLimit(std::int64_t{1} << 40);
  CHECK(budget.limit() == std::int64_t{1} << 40);
  budget.setLimit(1);
  const std::int64_t held = budget.add(2);
  CHECK(held >= 2);
  budget.add(-2);
}

}  // namespace
}  // namespace ioloop
