import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { root } from '../support/child.ts';
import { startPython } from '../support/peers.ts';
import { suite } from '../support/suite.ts';
import { within } from '../support/within.ts';

/** Tells the public classes of socketserver, and what these define. */
const NAMES = `
import inspect, socketserver
for name, kind in vars(socketserver).items():
    if inspect.isclass(kind) and kind.__module__ == 'socketserver' and not name.startswith('_'):
        print(name, *(member for member in vars(kind) if not member.startswith('_') or member in ('__init__', '__enter__')))`;

suite('the table of socketserver', (test) => {
  test('has a row for each class, method and attribute of it', async ({ defer }) => {
    const told = await within(20_000, startPython(defer, NAMES).finish(), 'the names');
    const names = new Set(told.trim().split(/\s+/));
    assert.ok(names.size > 40, `${names.size} names`);
    const rows = readFileSync(join(root, 'docs/from-socketserver.md'), 'utf8').match(/^\| `.*$/gm) ?? [];
    const theirs = rows.map((row) => row.split(' | ')[0] ?? '');
    const missing = [...names].filter(
      (name) => !theirs.some((cell) => new RegExp(`\\b${name}\\b`).test(cell)),
    );
    assert.equal(missing, []);
  });
});
