import { addon } from './native.ts';
import type { NativeCapabilities } from './native-datagrams.ts';

/** What the kernel under us has, of what not every kernel has. */
export type Capabilities = Readonly<NativeCapabilities>;

/** What the kernel under us can do, asked of it once: what is false here is refused, or done without. */
export function capabilities(): Capabilities {
  return addon().capabilities();
}
