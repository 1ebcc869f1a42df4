/**
 * What Linux knows of a TCP connection (TCP_INFO, tcp(7); struct tcp_info of linux/tcp.h). Times are in
 * microseconds or, where the name says so, milliseconds; rates in bytes a second; windows in segments unless
 * they are said to be bytes.
 *
 * A newer kernel tells more: `duplicateSacks`, `reorderSeen`, `bytesSent`, `bytesRetransmitted` (4.19),
 * `receiveOutOfOrder`, `sendWindow` (5.4), `receiveWindow`, `rehashes` (6.2).
 */
export interface TcpInfo extends Readonly<Record<string, number>> {
  /** 1: established; 8: the peer has ended its half ... (enum of net/tcp_states.h). */
  readonly state: number;
  /** 0: open, 1: disorder, 2: congestion window reduced, 3: recovery, 4: loss. */
  readonly congestionState: number;
  /** Retransmissions of the oldest segment that was not acknowledged, so far. */
  readonly retransmits: number;
  /** Probes without an answer: of keep-alive, or of a window that is closed. */
  readonly probes: number;
  /** How often the retransmission timeout was doubled. */
  readonly backoff: number;
  /** Retransmission timeout. */
  readonly rtoUs: number;
  /** Delay of acknowledgements that is reckoned with. */
  readonly atoUs: number;
  /** Bytes of a segment that is sent. */
  readonly sendMss: number;
  /** The same of what is received. */
  readonly receiveMss: number;
  /** Segments on their way. */
  readonly unacked: number;
  /** Of those, acknowledged out of order. */
  readonly sacked: number;
  /** Of those, taken for lost. */
  readonly lost: number;
  /** Of those, sent again. */
  readonly retrans: number;
  /** Since data were last sent. */
  readonly lastDataSentMs: number;
  /** Since data were last received. */
  readonly lastDataReceivedMs: number;
  /** Since the last acknowledgement. */
  readonly lastAckReceivedMs: number;
  /** Path MTU, in bytes. */
  readonly pathMtu: number;
  /** Slow-start threshold of the receive window, in bytes. */
  readonly receiveSsthresh: number;
  /** Smoothed round-trip time. */
  readonly rttUs: number;
  /** Its mean deviation. */
  readonly rttVarUs: number;
  /** Slow-start threshold. */
  readonly sendSsthresh: number;
  /** Congestion window. */
  readonly sendCwnd: number;
  /** The segment size that the peer was told, in bytes. */
  readonly advertisedMss: number;
  /** How many segments may come out of order before one is taken for lost. */
  readonly reordering: number;
  /** Round-trip time as the receiver sees it. */
  readonly receiveRttUs: number;
  /** Bytes received in the last round trip. */
  readonly receiveSpace: number;
  /** Segments sent again, since the beginning. */
  readonly retransTotal: number;
  /** Rate at which segments are spaced. */
  readonly pacingRate: number;
  /** Its limit (SO_MAX_PACING_RATE). */
  readonly maxPacingRate: number;
  /** Bytes acknowledged, since the beginning; the SYN counts as one. */
  readonly bytesAcked: number;
  /** Bytes received in order. */
  readonly bytesReceived: number;
  /** Segments sent, without data included. */
  readonly segmentsOut: number;
  /** Segments received. */
  readonly segmentsIn: number;
  /** Bytes written that were not sent yet. */
  readonly notSentBytes: number;
  /** Least round-trip time of the last five minutes. */
  readonly minRttUs: number;
  /** Segments with data received. */
  readonly dataSegmentsIn: number;
  /** Segments with data sent. */
  readonly dataSegmentsOut: number;
  /** Rate at which data last arrived. */
  readonly deliveryRate: number;
  /** How long data were on their way. */
  readonly busyUs: number;
  /** Of that, held up by the peer's window. */
  readonly receiveWindowLimitedUs: number;
  /** Of that, held up by our send buffer. */
  readonly sendBufferLimitedUs: number;
  /** Segments delivered, since the beginning. */
  readonly delivered: number;
  /** Of those, with congestion marked (ECN). */
  readonly deliveredCe: number;
}
