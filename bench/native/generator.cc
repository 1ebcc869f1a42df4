#include "generator.h"

#include <sched.h>
#include <sys/resource.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "message_batch.h"
#include "message_window.h"

namespace ioloop::bench {
namespace {

void pinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  if (::sched_setaffinity(0, sizeof set, &set) < 0) fail("sched_setaffinity");
}

void raiseDescriptorLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) < 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(RLIMIT_NOFILE, &limit) < 0) fail("setrlimit");
}

}  // namespace

Options startGenerator(int argc, char** argv) {
  const auto options = Options::parse(argc, argv);
  if (!options) std::exit(2);
  if (options->cpu >= 0) pinTo(options->cpu);
  raiseDescriptorLimit();
  return *options;
}

Options startMessageGenerator(int argc, char** argv) {
  const Options options = startGenerator(argc, argv);
  if (options.size >= MessageWindow::kLeastSize && options.pipeline <= MessageBatch::kMost)
    return options;
  std::fprintf(stderr, "%s: --size is from %zu up, --pipeline up to %zu\n",
               program_invocation_short_name, MessageWindow::kLeastSize, MessageBatch::kMost);
  std::exit(2);
}

void fail(const char* reason) {
  const int code = errno;
  std::fprintf(stderr, "%s: %s%s%s\n", program_invocation_short_name, reason, code == 0 ? "" : ": ",
               code == 0 ? "" : std::strerror(code));
  std::exit(1);
}

void check(const char* failure) {
  if (failure != nullptr) fail(failure);
}

}  // namespace ioloop::bench
