#pragma once

#include "options.h"

namespace ioloop::bench {

/**
 * What every generator does first: reads its options, takes its core, and raises the limit of
 * descriptors as far as it may. Ends the process with status 2 when the arguments make no sense.
 */
Options startGenerator(int argc, char** argv);

/** The same for those that send messages, which have a least size and a most in flight. */
Options startMessageGenerator(int argc, char** argv);

/** Ends the process with status 1 and says why, errno included where it is set. */
[[noreturn]] void fail(const char* reason);

/** Fails when there is a reason to; nullptr is none. */
void check(const char* failure);

}  // namespace ioloop::bench
