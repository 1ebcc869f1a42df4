import { generatorCommand } from './generator.ts';
import { LineProgram } from './line-program.ts';
import type { NativePrograms } from './native-programs.ts';
import type { Server } from './server.ts';

const openLimitMs = 120_000;

/**
 * Runs `use` while idle connections to `server` are held open: as many as `use` asks for by `hold`,
 * which resolves once each of them has answered a line of text with that line.
 *
 * Rejects when one of them does not answer once more in the end: the server has to hold them too.
 */
export async function withHeldConnections<T>(
  programs: NativePrograms,
  server: Server,
  use: (hold: (count: number) => Promise<void>) => Promise<T>,
): Promise<T> {
  const holder = new LineProgram(generatorCommand(programs.hold, server, ['--protocol=lines']));
  const hold = async (count: number): Promise<void> => {
    holder.writeLine(String(count));
    await holder.nextLine(openLimitMs);
  };
  try {
    const result = await use(hold);
    await holder.finish();
    return result;
  } finally {
    await holder.stop();
  }
}
