#pragma once

#include <cstdint>

namespace ioloop::bench {

// What the raw servers begin with. Each of these ends the process with status 1 when it cannot.

/** A TCP socket that listens on 127.0.0.1; port 0 is any free one. */
int listenTcp(std::uint16_t port);

/** A seqpacket socket that listens at an abstract name of the kernel's choice. */
int listenSeqpacket();

/** A UDP socket on any port of 127.0.0.1. */
int bindUdp();

/** A Unix datagram socket with an abstract name of the kernel's choice. */
int bindUnixDatagrams();

/** Prints where `fd` is, on a line of its own: its port, or '@' and its name. */
void announce(int fd);

/** A descriptor that is readable once the process is asked to end: SIGTERM, SIGINT. */
int watchSignals();

/** Says which call failed, and why. */
[[noreturn]] void endAfter(const char* call);

}  // namespace ioloop::bench
