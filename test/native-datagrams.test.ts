import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { addon, closeStream, receiveDatagrams, receiveError, sendDatagrams } from '../src/native.ts';
import { ADDRESS_WORDS, DatagramRows, FLAG, MAX_FDS, NAME_SIZE, ROW, WANT } from '../src/native-datagrams.ts';
import { openFds } from './support/fds.ts';
import { suite } from './support/suite.ts';

const EBADF = -9;
const EAGAIN = -11;
const EINVAL = -22;
const SLOT = 2048;

/** Where messages are received: {@link receiveDatagrams}'s memory for `capacity` of them. */
class Inbox {
  readonly rows: DatagramRows;
  readonly slab: Uint8Array<ArrayBuffer>;
  readonly names: Uint8Array;

  constructor(capacity = 8) {
    this.rows = new DatagramRows(capacity);
    this.slab = new Uint8Array(capacity * SLOT);
    this.names = new Uint8Array(capacity * NAME_SIZE);
  }

  receive(fd: number, fds?: Int32Array): number {
    return receiveDatagrams(fd, this.slab, SLOT, this.rows.words, this.names, fds);
  }

  text(row: number): string {
    const offset = this.rows.get(row, ROW.OFFSET);
    return Buffer.from(this.slab.buffer, offset, this.rows.get(row, ROW.SIZE)).toString();
  }

  name(row: number): string {
    return Buffer.from(this.names.buffer, row * NAME_SIZE, this.rows.get(row, ROW.PORT)).toString();
  }
}

function boundAt(host: string): { fd: number; port: number } {
  const fd = addon().openDatagram(host.includes(':') ? 'udp6' : 'udp4');
  addon().bindDatagram(fd, undefined, host, 0, -1);
  const local = addon().socketAddress(fd);
  assert.ok('port' in local);
  return { fd, port: local.port };
}

/** Rows for `texts`, one behind the other in the bytes that stand beside them. */
function rowsFor(texts: readonly string[]): { rows: DatagramRows; bytes: Uint8Array } {
  const rows = new DatagramRows(texts.length);
  let offset = 0;
  for (const [row, text] of texts.entries()) {
    rows.clear(row, offset, text.length);
    offset += text.length;
  }
  return { rows, bytes: Buffer.from(texts.join('')) };
}

function parsed(literal: string): Int32Array {
  const target = new Int32Array(ADDRESS_WORDS);
  assert.is(addon().parseIp(literal, target), 0);
  return target;
}

suite('the door of datagrams', (test) => {
  test('takes rows from the first on, to whom each goes, and gives rows back', () => {
    const inbox = new Inbox();
    for (const host of ['127.0.0.1', '::1']) {
      const receiver = boundAt(host);
      const sender = boundAt(host);
      const { rows, bytes } = rowsFor(['skipped', 'one', '', 'three', 'not sent']);
      for (const row of [1, 2, 3]) rows.setDestination(row, parsed(host), receiver.port);
      assert.is(sendDatagrams(sender.fd, bytes, rows.words, 1, 3), 3);
      assert.is(inbox.receive(receiver.fd), 3);
      assert.equal(
        [0, 1, 2].map((row) => inbox.text(row)),
        ['one', '', 'three'],
      );
      assert.is(inbox.rows.get(0, ROW.PORT), sender.port);
      const source = inbox.rows.words.slice(ROW.FAMILY, ROW.LOCAL_SCOPE);
      assert.equal(source.with(1, 0), parsed(host));
      assert.is(inbox.receive(receiver.fd), EAGAIN);
      for (const { fd } of [receiver, sender]) closeStream(fd);
    }
  });

  test('answers a row from where it was sent to', () => {
    const inbox = new Inbox();
    const server = boundAt('0.0.0.0');
    const client = boundAt('127.0.0.1');
    addon().wantControl(server.fd, WANT.LOCAL | WANT.INFO);
    const { rows, bytes } = rowsFor(['?']);
    rows.setDestination(0, parsed('127.0.0.42'), server.port);
    assert.is(sendDatagrams(client.fd, bytes, rows.words, 0, 1), 1);
    assert.is(inbox.receive(server.fd), 1);
    assert.ok(inbox.rows.has(0, FLAG.LOCAL) && inbox.rows.has(0, FLAG.INFO));
    const low = BigInt(inbox.rows.get(0, ROW.TIMESTAMP) >>> 0);
    const time = Number(((BigInt(inbox.rows.get(0, ROW.TIMESTAMP + 1)) << 32n) | low) / 1_000_000n);
    assert.ok(Math.abs(time - Date.now()) < 5_000);
    rows.clear(0, 0, 1);
    rows.setAnswer(0, inbox.rows, 0);
    assert.is(sendDatagrams(server.fd, bytes, rows.words, 0, 1), 1);
    assert.is(inbox.receive(client.fd), 1);
    assert.equal(inbox.rows.words.slice(ROW.FAMILY, ROW.LOCAL_SCOPE).with(1, 0), parsed('127.0.0.42'));
    for (const { fd } of [server, client]) closeStream(fd);
  });

  test('keeps names of the unix domain, paths with a mode and abstract ones', () => {
    const directory = mkdtempSync(join(tmpdir(), 'ioloop-datagram-'));
    const path = join(directory, 'socket');
    const [receiver, sender] = [addon().openDatagram('unix'), addon().openDatagram('unix')];
    addon().bindDatagram(receiver, path, '', 0, 0o620);
    assert.is(statSync(path).mode & 0o777, 0o620);
    const name = '\0ioloop-\u00e4-test';
    addon().bindDatagram(sender, name, '', 0, -1);
    const bytes = Buffer.from(`${path}data`);
    const rows = new DatagramRows(1);
    rows.clear(0, path.length, 4);
    rows.set(0, ROW.FAMILY, 1);
    rows.set(0, ROW.PORT, path.length);
    assert.is(sendDatagrams(sender, bytes, rows.words, 0, 1), 1);
    const inbox = new Inbox();
    assert.is(inbox.receive(receiver), 1);
    assert.equal([inbox.text(0), inbox.name(0)], ['data', name]);
    for (const fd of [receiver, sender]) closeStream(fd);
    rmSync(directory, { recursive: true });
  });

  test('refuses memory that is too small, of another kind, or gone', () => {
    const { fd, port } = boundAt('127.0.0.1');
    const { rows, bytes } = rowsFor(['x']);
    rows.setDestination(0, parsed('127.0.0.1'), port);
    assert.is(sendDatagrams(fd, bytes, rows.words, 0, 2), EINVAL);
    assert.is(sendDatagrams(fd, bytes, rows.words, 2, 0), EINVAL);
    assert.is(sendDatagrams(fd, new Uint8Array(0), rows.words, 0, 1), EINVAL);
    assert.is(sendDatagrams(fd, bytes, rows.words, 0, 1), 1);

    const inbox = new Inbox();
    const gone = new Inbox();
    structuredClone(gone.slab.buffer, { transfer: [gone.slab.buffer] });
    structuredClone(gone.rows.words.buffer, { transfer: [gone.rows.words.buffer] });
    const { slab, names } = inbox;
    const { words } = inbox.rows;
    assert.is(receiveDatagrams(fd, gone.slab, SLOT, words, names, undefined), EINVAL);
    assert.is(receiveDatagrams(fd, slab, SLOT, gone.rows.words, names, undefined), EINVAL);
    assert.is(receiveDatagrams(fd, slab, SLOT, words.subarray(0, ROW.WORDS - 1), names, undefined), EINVAL);
    assert.is(receiveDatagrams(fd, slab, 64, words, names, undefined), EINVAL);
    assert.is(receiveDatagrams(fd, slab, 0, words, names, undefined), EINVAL);
    assert.is(inbox.receive(fd, new Int32Array(MAX_FDS - 1)), EINVAL);
    assert.is(receiveError(fd, gone.rows.words), EINVAL);
    assert.is(sendDatagrams(fd, bytes, gone.rows.words, 0, 1), EINVAL);
    assert.is(inbox.receive(fd), 1);
    closeStream(fd);
    assert.is(inbox.receive(fd), EBADF);
    assert.is(sendDatagrams(fd, bytes, rows.words, 0, 1), EBADF);
    assert.is(receiveError(fd, words), EBADF);
  });

  test('lists descriptors that came along, and closes those that nobody asked for', () => {
    const before = openFds();
    const [left, right] = addon().openDatagramPair('seqpacket');
    const { rows, bytes } = rowsFor(['first', 'second']);
    rows.set(0, ROW.FD_COUNT, 2);
    rows.set(1, ROW.FIRST_FD, 1);
    rows.set(1, ROW.FD_COUNT, 1);
    const passed = Int32Array.of(left, right);
    const inbox = new Inbox();
    assert.is(sendDatagrams(left, bytes, rows.words, 0, 2, passed), 2);
    const fds = new Int32Array(2 * MAX_FDS);
    assert.is(inbox.receive(right, fds), 2);
    assert.is(inbox.rows.get(1, ROW.FIRST_FD), 2);
    for (const fd of fds.subarray(0, 3)) assert.is(closeStream(fd), 0);
    assert.is(sendDatagrams(left, bytes, rows.words, 0, 1, passed), 1);
    assert.is(inbox.receive(right), 1);
    assert.ok(inbox.rows.has(0, FLAG.CONTROL_TRUNCATED) && inbox.rows.get(0, ROW.FD_COUNT) === 0);
    assert.is(inbox.rows.get(0, ROW.PID), process.pid);
    for (const fd of [left, right]) closeStream(fd);
    assert.equal(openFds(), before);
  });

  test('tells errors with whom the datagram went to, once', () => {
    const { port, fd: dead } = boundAt('127.0.0.1');
    closeStream(dead);
    const { fd } = boundAt('127.0.0.1');
    const { rows, bytes } = rowsFor(['lost']);
    rows.setDestination(0, parsed('127.0.0.1'), port);
    assert.is(sendDatagrams(fd, bytes, rows.words, 0, 1), 1);
    const errors = new DatagramRows(1);
    assert.is(receiveError(fd, errors.words), 1);
    assert.is(errors.get(0, ROW.SIZE), 111);
    if (process.platform === 'linux') assert.is(errors.get(0, ROW.PORT), port);
    assert.is(receiveError(fd, errors.words), 0);
    closeStream(fd);
  });

  test('adopts, asks and joins, and throws what is refused', () => {
    const { adoptDatagram, capabilities, openDatagram, openDatagramPair, peerCredentials } = addon();
    const kinds = ['udp4', 'udp6', 'unix', 'seqpacket'] as const;
    for (const kind of kinds) {
      const fd = openDatagram(kind);
      assert.is(adoptDatagram(fd), kind);
      assert.is(addon().droppedByKernel(fd), 0);
      assert.is(closeStream(fd), 0);
    }
    assert.throws(() => adoptDatagram(-1), /bad file descriptor/i);
    assert.is(addon().parseIp('localhost', new Int32Array(ADDRESS_WORDS)), EINVAL);
    assert.is(addon().parseIp('::1', new Int32Array(ADDRESS_WORDS - 1)), EINVAL);

    const [left, right] = openDatagramPair('seqpacket');
    const { pid, uid, gid } = peerCredentials(left);
    assert.equal([pid, uid, gid], [process.pid, process.getuid?.(), process.getgid?.()]);
    for (const fd of [left, right]) closeStream(fd);
    for (const each of Object.values(capabilities())) assert.type(each, 'boolean');

    const { fd } = boundAt('0.0.0.0');
    addon().setMulticastInterface(fd, '127.0.0.1');
    addon().setMembership(fd, '239.9.8.7', '127.0.0.1', '', true);
    addon().setMembership(fd, '239.9.8.7', '127.0.0.1', '', false);
    assert.throws(
      () => addon().setMembership(fd, '239.9.8.7', '', '', false),
      /cannot assign requested address/i,
    );
    assert.throws(() => addon().setMembership(fd, '127.0.0.1', '', '', true), /invalid argument/i);
    assert.throws(() => peerCredentials(fd), /not connected/i);
    assert.throws(() => addon().wantControl(fd, WANT.CREDENTIALS), /not supported/i);
    closeStream(fd);
  });
});
