import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';

import { root } from './support/child.ts';
import { suite } from './support/suite.ts';

/** A row of a document: what it is elsewhere, what it is here, and where that is. */
interface Row {
  readonly theirs: string;
  readonly ours: string;
  readonly where: string;
}

const DOCUMENTS = ['docs/from-tornado.md', 'docs/from-twisted.md', 'docs/from-socketserver.md'];
/** What stands in the place of links to code and tests. */
const OTHERS = ['JavaScript', 'Node', 'npm', 'later', 'none'];
const ENTRIES = ['src/index.ts', 'src/raw.ts', 'src/protocol/index.ts', 'src/testing/sim.ts'];

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** The rows of all tables of three columns. */
function rowsOf(document: string): Row[] {
  const rows: Row[] = [];
  for (const line of read(document).split('\n')) {
    if (!line.startsWith('|') || line.startsWith('|--')) continue;
    const [, theirs = '', ours = '', where, ...rest] = line.split(/(?<!\\)\|/).map((cell) => cell.trim());
    assert.ok(where !== undefined && rest.length === 1, `three columns in ${line}`);
    if (where !== 'where') rows.push({ theirs, ours, where });
  }
  return rows;
}

/** What is linked to below `folder`, as paths from the root. */
function linksTo(folder: 'src' | 'test', { where }: Row): string[] {
  return [...where.matchAll(/\]\(\.\.\/([^)]+)\)/g)]
    .map(([, path = '']) => path)
    .filter((path) => path.startsWith(folder));
}

/** The names that the code spans of a cell begin with, the last of `server.listen(0)`; none of 'node:net', 'async-mutex'. */
function namesIn(cell: string): { readonly name: string; readonly isBare: boolean }[] {
  return [...cell.matchAll(/`(?:await |new |class \w+ extends )*([A-Za-z_][\w.]*)(?![\w.:/-])[^`]*`/g)].map(
    ([, path = '']) => ({
      name: path.split('.').at(-1) ?? '',
      isBare: !path.includes('.'),
    }),
  );
}

/** A test, with the files of test/support that it calls. */
function withSupport(path: string): string {
  const test = read(path);
  const supports = [...test.matchAll(/from '[./]+\/support\/([\w-]+\.ts)'/g)].map(
    ([, file]) => `test/support/${file}`,
  );
  return [test, ...supports.map(read)].join('\n');
}

/** What the package exports, types included. */
async function exported(): Promise<Set<string>> {
  const names = new Set<string>();
  for (const entry of ENTRIES) {
    for (const name of Object.keys(await import(join(root, entry)))) names.add(name);
    for (const [, name = ''] of read(entry).matchAll(/\btype (\w+)/g)) names.add(name);
    for (const [, list = ''] of read(entry).matchAll(/export type \{([^}]*)\}/g))
      for (const name of list.split(',')) names.add(name.trim());
  }
  return names;
}

for (const document of DOCUMENTS)
  suite(document, (test) => {
    const rows = rowsOf(document);

    test('says of every row where it is: code and its test, who else has it, or the reason why not', () => {
      assert.ok(rows.length > 0);
      for (const row of rows) {
        if (OTHERS.includes(row.where)) {
          assert.is(row.where === 'none', row.ours.startsWith('none'), `${row.theirs}: ${row.ours}`);
          assert.ok(row.ours.length > 'none: '.length, row.theirs);
        } else {
          assert.ok(
            linksTo('src', row).length > 0 && linksTo('test', row).length > 0,
            `${row.theirs}: ${row.where}`,
          );
        }
      }
    });

    test('names nothing as ours that is not in the code beside it', () => {
      const absent: string[] = [];
      for (const row of rows) {
        const code = linksTo('src', row).map(read).join('\n');
        if (code === '') continue;
        for (const { name } of namesIn(row.ours))
          if (!new RegExp(`\\b${name}\\b`).test(code)) absent.push(`${row.theirs}: ${name}`);
      }
      assert.equal(absent, []);
    });

    test('names beside what is ours a test that speaks of it', () => {
      const untested: string[] = [];
      for (const row of rows) {
        const tests = linksTo('test', row).map(withSupport).join('\n');
        const names = namesIn(row.ours);
        if (tests === '' || names.length === 0) continue;
        if (!names.some(({ name }) => new RegExp(`\\b${name}\\b`).test(tests)))
          untested.push(`${row.theirs}: ${row.ours}`);
      }
      assert.equal(untested, []);
    });

    test('names no class or function that the package does not export', async () => {
      const all = await exported();
      const absent: string[] = [];
      for (const row of rows) {
        const code = linksTo('src', row).map(read).join('\n');
        if (code === '') continue;
        for (const { name, isBare } of namesIn(row.ours)) {
          const isClass = isBare && /^[A-Z]\w*[a-z]/.test(name) && !(name in globalThis);
          const isDeclared = new RegExp(
            `export (?:abstract |async )*(?:class|function|const|interface|type) ${name}\\b`,
          ).test(code);
          if ((isClass || (isBare && isDeclared)) && !all.has(name)) absent.push(`${row.theirs}: ${name}`);
        }
      }
      assert.equal(absent, []);
    });
  });
