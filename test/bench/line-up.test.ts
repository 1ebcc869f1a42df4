import * as assert from 'uvu/assert';
import { findServers, handlerEcho, type LineUp, onDataEcho, thatHold } from '../../bench/line-up.ts';
import { suite } from '../support/suite.ts';

const lineUp: LineUp = {
  raw: '/limit',
  ioloop: [handlerEcho, onDataEcho],
  peers: { 'node-net': 'node-net-echo.ts' },
};
const found = findServers(lineUp, ['epoll', 'select']);
const namesOf = (servers: readonly { readonly name: string }[]): string[] => servers.map(({ name }) => name);

suite('the line-up of a bench', (test) => {
  test('begins with the limit and asks every server of every backend', () => {
    assert.equal(namesOf(found.servers), [
      'raw-epoll',
      'ioloop-epoll',
      'ioloop-stream-ondata-epoll',
      'ioloop-select',
      'ioloop-stream-ondata-select',
      'node-net',
    ]);
  });

  test('tells a server its backend first, then how it is written', () => {
    assert.equal(found.servers[2]?.command.args.slice(-2), ['epoll', 'ondata']);
  });

  test('tells the limit how it is asked', () => {
    const { servers } = findServers({ ...lineUp, rawArgs: ['unix'] }, []);
    assert.equal(servers[0]?.command, { program: '/limit', args: ['unix'] });
  });

  test('leaves out what cannot hold so many connections, and says so', () => {
    const { servers, notes } = thatHold(10_000, found);
    assert.equal(namesOf(servers), ['raw-epoll', 'ioloop-epoll', 'ioloop-stream-ondata-epoll', 'node-net']);
    assert.equal(notes.length, 2);
    assert.match(notes[0] ?? '', /^ioloop-select holds \d+ connections at most/);
  });

  test('leaves nothing out where all can hold them', () => {
    assert.equal(thatHold(50, found), found);
  });
});
