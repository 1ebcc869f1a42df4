// What a stream is up to, in one word, since an idle one has to be small.

/** The peer has ended its half, and all before that was received. */
export const PEER_ENDED: number = 1;
/** The reader was told so. */
export const END_TOLD: number = 2;
/** end() was called: our half ends when everything has left. */
export const ENDING: number = 4;
/** Our half has ended. */
export const SHUT: number = 8;
/** close() was called, or has become due: no more writes; closes when everything has left. */
export const CLOSING: number = 16;
/** Everything has left; what the peer still sends is drained. */
export const LINGERING: number = 32;
/** The descriptor is gone. */
export const CLOSED: number = 64;
/** Nothing is received any more: close() and abort() were called. */
export const DEAF: number = 128;
/** pause() was called. */
export const PAUSED: number = 256;
/** A promise of the listener is pending. */
export const LISTENER_BUSY: number = 512;
/** An iteration is under way. */
export const ITERATING: number = 1024;
/** Receiving waits for memory. */
export const NO_MEMORY: number = 2048;
/** The kernel takes no more for now. */
export const BLOCKED: number = 4096;
/** Is settled with this turn. */
export const UNSETTLED: number = 8192;
/** Buffered bytes wait for their listener. */
export const TO_SERVE: number = 16384;
/** Closes at the end of this turn: a read was over its limit. */
export const CLOSE_DUE: number = 32768;
/** Closes by itself as soon as no handler is pending. */
export const DONE: number = 65536;
/** whenClosed and onClose are due. */
export const TO_NOTIFY: number = 131072;
/** Does not keep the process alive by itself. */
export const UNREFERENCED: number = 262144;
/** Keeps it alive because bytes are queued. */
export const KEEPS_ALIVE: number = 524288;

/** The peer's end leaves our half open. */
export const HALF_OPEN: number = 1048576;
/** The last receive took all there was room for: the next one gets more. */
export const BULKY: number = 4194304;
/** The loop has refused to watch it: it is reset with this turn. */
export const UNWATCHABLE: number = 8388608;
/** The listener is given views, which are valid during the call. */
export const VIEWS: number = 16777216;
/** Its listener is given what has come: what it writes is sent when it returns. */
export const CORKED: number = 67108864;
/** abort() ended it, or what amounts to that. */
export const RESET: number = 33554432;
/** Others may hold the same open file: what watches it does not go with its descriptor. */
export const SHARED: number = 2097152;
/** Buffered bytes wait, whoever listens. */
export const NOT_DELIVERING: number = PAUSED | LISTENER_BUSY | DEAF;
