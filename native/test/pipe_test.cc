#include "core/pipe.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <cerrno>
#include <string>

#include "core/sys.h"
#include "test/check.h"
#include "test/fault_injector.h"
#include "test/loopback.h"

namespace ioloop {
namespace {

struct PipeEnds {
  UniqueFd reading;
  UniqueFd writing;
};

/** A pipe as a shell makes it: it blocks, and children inherit it. */
PipeEnds makePipe() {
  std::array<int, 2> fds{-1, -1};
  CHECK(::pipe(fds.data()) == 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

PipeEnds adoptedPipe() {
  PipeEnds ends = makePipe();
  CHECK(adoptPipe(ends.reading.get()));
  CHECK(adoptPipe(ends.writing.get()));
  return ends;
}

std::string readText(int fd) {
  std::array<char, 64> buffer{};
  const ssize_t size = readSome(fd, std::as_writable_bytes(std::span(buffer)));
  if (size < 0) return "error " + std::to_string(-size);
  return {buffer.data(), static_cast<std::size_t>(size)};
}

TEST("an adopted pipe does not block, and its flags come back as they were") {
  const PipeEnds ends = makePipe();
  const auto reading = adoptPipe(ends.reading.get());
  const auto writing = adoptPipe(ends.writing.get());
  REQUIRE(reading && writing);
  CHECK((*reading & O_ACCMODE) == O_RDONLY && (*writing & O_ACCMODE) == O_WRONLY);
  CHECK((*reading & O_NONBLOCK) == 0);
  CHECK(isNonBlocking(ends.reading.get()) && isCloseOnExec(ends.reading.get()));
  CHECK(restoreFlags(ends.reading.get(), *reading));
  CHECK(!isNonBlocking(ends.reading.get()));
}

TEST("FIFOs, devices and socket pairs are adopted; files and directories are EPERM") {
  ScratchDirectory directory;
  REQUIRE(directory);
  const std::string fifo = directory.file("fifo");
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  for (const char* path : {fifo.c_str(), "/dev/null"}) {
    const UniqueFd fd(::open(path, O_RDWR));
    const auto flags = adoptPipe(fd.get());
    CHECK(flags && (*flags & O_ACCMODE) == O_RDWR);
  }
  std::array<int, 2> pair{-1, -1};
  REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) == 0);
  const UniqueFd near(pair[0]);
  const UniqueFd far(pair[1]);
  CHECK(adoptPipe(near.get()));
  CHECK(isNonBlocking(near.get()));

  const std::string file = directory.write("file", "text");
  for (const char* path : {file.c_str(), "/tmp"}) {
    const UniqueFd fd(::open(path, O_RDONLY));
    const auto flags = adoptPipe(fd.get());
    CHECK(!flags && flags.error().code == EPERM);
    CHECK(!isNonBlocking(fd.get()));
  }
  CHECK(adoptPipe(-1).error().code == EBADF);
}

TEST("the standard descriptors stay open for children") {
  const UniqueFd saved(::fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3));
  const PipeEnds ends = makePipe();
  REQUIRE(::dup2(ends.reading.get(), STDIN_FILENO) == STDIN_FILENO);
  CHECK(adoptPipe(STDIN_FILENO));
  CHECK(!isCloseOnExec(STDIN_FILENO));
  if (saved) ::dup2(saved.get(), STDIN_FILENO);
}

TEST("bytes go through, then comes the end") {
  PipeEnds ends = adoptedPipe();
  CHECK(readText(ends.reading.get()) == "error " + std::to_string(EAGAIN));
  CHECK(writeSome(ends.writing.get(), bytesOf("ping")) == 4);
  CHECK(readText(ends.reading.get()) == "ping");
  ends.writing = UniqueFd();
  CHECK(readText(ends.reading.get()).empty());
}

TEST("a full pipe takes a part, then nothing: EAGAIN") {
  const PipeEnds ends = adoptedPipe();
  const std::string much(std::size_t{1} << 20, 'x');
  const ssize_t taken = writeSome(ends.writing.get(), bytesOf(much));
  CHECK(taken > 0 && taken < static_cast<ssize_t>(much.size()));
  CHECK(writeSome(ends.writing.get(), bytesOf(much)) == -EAGAIN);
}

TEST("with its reader gone a write is EPIPE, never a signal") {
  PipeEnds ends = adoptedPipe();
  ends.reading = UniqueFd();
  CHECK(writeSome(ends.writing.get(), bytesOf("x")) == -EPIPE);
  CHECK(writeSome(ends.writing.get(), bytesOf("x")) == -EPIPE);
}

TEST("an interrupted call is made again, and a short count is the answer") {
  const PipeEnds ends = adoptedPipe();
  FaultInjector faults(3);
  faults.on<&SysTable::quietWrite>().failCall(1, EINTR);
  faults.on<&SysTable::read>().failCall(1, EINTR);
  faults.on<&SysTable::quietWrite>().shortenRandomly(1);
  const ssize_t taken = writeSome(ends.writing.get(), bytesOf("ping"));
  CHECK(taken > 0 && taken < 4);
  CHECK(readText(ends.reading.get()) ==
        std::string("ping").substr(0, static_cast<std::size_t>(taken)));
  CHECK(faults.on<&SysTable::quietWrite>().calls() == 2);
  CHECK(faults.on<&SysTable::read>().calls() == 2);
}

TEST("the spare descriptor is a number that children do not get") {
  const auto spare = openSpare();
  REQUIRE(spare);
  CHECK(isCloseOnExec(spare->get()));
  FaultInjector faults(1);
  faults.on<&SysTable::open>().failCall(1, EMFILE);
  const auto refused = openSpare();
  CHECK(!refused && refused.error().code == EMFILE);
}

}  // namespace
}  // namespace ioloop
