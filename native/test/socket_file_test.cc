#include "core/socket_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "test/check.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

TEST("a file is unlinked while it is the one that was meant") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.write("socket", "");
  const auto identity = fileIdentity(path);
  REQUIRE(identity);
  CHECK(unlinkPath(path, *identity));
  CHECK(unlinkPath(path, *identity).error().code == ENOENT);
  CHECK(fileIdentity(path).error().code == ENOENT);
}

TEST("one that somebody else has put there stays: ESTALE") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string ours = directory.write("socket", "");
  const std::string theirs = directory.write("other", "");
  const auto identity = fileIdentity(ours);
  REQUIRE(identity);
  REQUIRE(std::rename(theirs.c_str(), ours.c_str()) == 0);
  CHECK(unlinkPath(ours, *identity).error().code == ESTALE);
  CHECK(fileIdentity(ours));
}

TEST("a link is another file than what it leads to") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string path = directory.write("socket", "");
  const std::string link = directory.file("link");
  REQUIRE(::symlink(path.c_str(), link.c_str()) == 0);
  const auto identity = fileIdentity(path);
  REQUIRE(identity);
  CHECK(unlinkPath(link, *identity).error().code == ESTALE);
}

}  // namespace
}  // namespace ioloop
