#include "core/unique_fd.h"

#include <array>
#include <utility>

#include "test/check.h"
#include "test/fault_injector.h"

namespace ioloop {
namespace {

bool isOpen(int fd) { return ::fcntl(fd, F_GETFD) >= 0; }

std::array<UniqueFd, 2> makePipe() {
  std::array<int, 2> ends{-1, -1};
  CHECK(sys().pipe2(ends.data(), O_CLOEXEC) == 0);
  return {UniqueFd(ends[0]), UniqueFd(ends[1])};
}

TEST("a descriptor is closed exactly once, when its owner goes") {
  FaultInjector counts(1);
  int fd = -1;
  {
    auto ends = makePipe();
    fd = ends[0].get();
    REQUIRE(isOpen(fd));
    const UniqueFd moved = std::move(ends[0]);
    CHECK(moved.get() == fd);
    CHECK(!ends[0]);
  }
  CHECK(!isOpen(fd));
  CHECK(counts.on<&SysTable::close>().calls() == 2);
}

TEST("a close that a signal interrupted is not made again") {
  auto ends = makePipe();
  FaultInjector faults(1);
  faults.on<&SysTable::close>().failCall(1, EINTR);
  const int fd = ends[0].get();
  {
    const UniqueFd owner = std::move(ends[0]);
  }
  CHECK(faults.on<&SysTable::close>().calls() == 1);
  CHECK(!isOpen(fd));
}

TEST("a descriptor given away stays open") {
  auto ends = makePipe();
  const int fd = ends[0].get();
  int given = -1;
  {
    UniqueFd owner = std::move(ends[0]);
    given = owner.release();
    CHECK(!owner);
  }
  CHECK(given == fd);
  CHECK(isOpen(fd));
  ends[0] = UniqueFd(given);
}

TEST("assignment leaves neither descriptor open twice nor forgotten") {
  auto ends = makePipe();
  const int replaced = ends[0].get();
  const int kept = ends[1].get();
  {
    UniqueFd owner = std::move(ends[0]);
    {
      UniqueFd other = std::move(ends[1]);
      owner = std::move(other);
      CHECK(owner.get() == kept);
    }
    CHECK(!isOpen(replaced));
    CHECK(isOpen(kept));
  }
  CHECK(!isOpen(kept));
}

TEST("nothing to own is nothing to close") {
  FaultInjector counts(1);
  {
    const UniqueFd none;
  }
  CHECK(counts.on<&SysTable::close>().calls() == 0);
}

}  // namespace
}  // namespace ioloop
