/** Something that may still have bytes to send when the process ends. */
export interface LastSender {
  /** Makes a last attempt, which does not wait. */
  sendLast(): void;
}

const senders = new Set<LastSender>();
let isListening = false;

/** Has `sender` send what it still has queued when the process exits. */
export function sendLastAtExit(sender: LastSender): void {
  if (!isListening) process.once('exit', sendAllLast);
  isListening = true;
  senders.add(sender);
}

/** The end of {@link sendLastAtExit}. */
export function sendNoMore(sender: LastSender): void {
  senders.delete(sender);
}

function sendAllLast(): void {
  for (const sender of senders) sender.sendLast();
}
