#include "core/result.h"

#include <cerrno>
#include <memory>

#include "test/check.h"

namespace ioloop {
namespace {

TEST("a result holds its value, and gives it away when it can only be moved") {
  Result<std::unique_ptr<int>> result = std::make_unique<int>(7);
  REQUIRE(result.has_value());
  CHECK(**result == 7);
  const std::unique_ptr<int> taken = std::move(*result);
  CHECK(*taken == 7);
}

TEST("a result without a value says which call failed and why") {
  errno = ENOENT;
  const Result<int> result = lastError("open");
  CHECK(!result);
  CHECK(result.error().code == ENOENT);
  CHECK(std::string(result.error().call) == "open");
}

TEST("a value that is zero is a value all the same") {
  const Result<int> result = 0;
  CHECK(result.has_value());
  CHECK(*result == 0);
}

TEST("a status is success unless an error was put in") {
  const Status fine;
  CHECK(fine.has_value());
  const Status failed = SysError{EPERM, "epoll_ctl"};
  CHECK(!failed);
  CHECK(failed.error().code == EPERM);
}

}  // namespace
}  // namespace ioloop
