import * as assert from 'uvu/assert';
import { LineProgram } from '../../bench/harness/line-program.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

const patienceMs = 20_000;
const run = (script: string): LineProgram =>
  new LineProgram({ program: process.execPath, args: ['--eval', script] });

/** Why `promise` rejects. */
async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await within(patienceMs, promise, 'a rejection');
  } catch (error) {
    return String(error);
  }
  throw new Error('it resolved');
}

suite('a program that is spoken with in lines', (test) => {
  test('keeps the lines that nobody has asked for yet', async () => {
    const program = run('console.log("a"); console.log("b")');
    assert.is(await program.nextLine(patienceMs), 'a');
    await program.finish();
    assert.is(await program.nextLine(patienceMs), 'b');
  });

  test('answers what was written to it', async () => {
    const program = run('process.stdin.on("data", (data) => process.stdout.write(data))');
    program.writeLine('a line');
    assert.is(await program.nextLine(patienceMs), 'a line');
    await program.finish();
  });

  test('that ends first rejects the wait for its line', async () => {
    const program = run('');
    assert.match(await reasonOf(program.nextLine(patienceMs)), 'ended without printing');
  });

  test('that says nothing rejects it too, in time', async () => {
    const program = run('process.stdin.resume()');
    assert.match(await reasonOf(program.nextLine(1)), 'printed nothing for 1 ms');
    await program.finish();
  });

  test('has failed when its status is not 0', async () => {
    assert.match(await reasonOf(run('process.exitCode = 3').finish()), 'ended with 3');
  });

  test('is stopped, and stopping it twice is no error', async () => {
    const program = run('setInterval(() => {}, 1_000)');
    await within(patienceMs, program.stop(), 'its end');
    await program.stop();
    assert.match(await reasonOf(program.finish()), 'ended with SIGTERM');
  });

  test('that cannot be started says so', async () => {
    const program = new LineProgram({ program: '/nowhere/at-all', args: [] });
    assert.match(await reasonOf(program.nextLine(patienceMs)), 'did not start');
    assert.throws(() => program.pid, 'did not start');
    await program.stop();
  });
});
