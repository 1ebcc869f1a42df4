import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { basename, dirname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';

import { authority, localhost } from './support/certificates.ts';
import { root, runFile, startFile } from './support/child.ts';
import { heard } from './support/examples.ts';
import { project } from './support/package.ts';
import { suite } from './support/suite.ts';
import { within } from './support/within.ts';

/** A program in a document: a block fenced as `ts`. */
interface Snippet {
  /** The document and the heading above the block, for people. */
  readonly title: string;
  /** Of the file that it is written to, without an ending. */
  readonly name: string;
  readonly source: string;
}

const BLOCK = /^(#+ .*)$|^```ts\n([\s\S]*?)^```$/gm;
/** What a call prints, as the comment behind it says. */
const PRINTED = /\bconsole\.log\(.*\); \/\/ (.*)$/gm;

function snippetsOf(path: string): Snippet[] {
  const snippets: Snippet[] = [];
  const document = basename(path, '.md');
  let heading = '';
  for (const [, title, source] of readFileSync(join(root, path), 'utf8').matchAll(BLOCK)) {
    if (title !== undefined) heading = title.replace(/^#+ /, '');
    if (source === undefined) continue;
    const place = snippets.length + 1;
    snippets.push({ title: `${path}, ${place}: ${heading}`, name: `${document}-${place}`, source });
  }
  return snippets;
}

const documents = readdirSync(join(root, 'docs'))
  .filter((file) => file.endsWith('.md'))
  .map((file) => `docs/${file}`);
const programs = documents.flatMap(snippetsOf);
/** Serves until it is interrupted. */
const [lineServer] = snippetsOf('README.md');

/** Where a document links to in this repository, as paths from its root. */
function linksOf(path: string): string[] {
  const links = readFileSync(join(root, path), 'utf8').matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g);
  return [...links].map(([, target = '']) => join(dirname(path), target));
}

/** A user's project, with what the snippets find beside them: dependencies, a certificate and its key. */
function makeDirectory(): string {
  const directory = join(project(), 'docs');
  if (existsSync(directory)) return directory;
  mkdirSync(directory);
  for (const name of ['@types', 'fastify', 'ws'])
    symlinkSync(join(root, 'node_modules', name), join(project(), 'node_modules', name));
  const files = { 'ca.pem': authority, 'cert.pem': localhost.cert, 'key.pem': localhost.key };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

/** Compiles `snippets` with the settings of this repository; what the compiler says of them. */
function compile(snippets: readonly Snippet[]): string {
  const directory = makeDirectory();
  for (const { name, source } of snippets) writeFileSync(join(directory, `${name}.mts`), source);
  const settings = {
    extends: join(root, 'tsconfig.json'),
    compilerOptions: { noEmit: false, noEmitOnError: true, rootDir: '.', outDir: '.', skipLibCheck: true },
    include: [],
    files: snippets.map(({ name }) => `${name}.mts`),
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify(settings));
  try {
    execFileSync(join(root, 'node_modules', '.bin', 'tsc'), ['-p', directory], { encoding: 'utf8' });
    return '';
  } catch (error) {
    return error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error);
  }
}

/** The program that a snippet was compiled to. */
function compiled({ name }: Snippet): URL {
  return pathToFileURL(join(makeDirectory(), `${name}.mjs`));
}

suite('the documents', { limitMs: 60_000 }, (test) => {
  test('hold programs that compile', () => {
    assert.ok(programs.length > 0 && lineServer !== undefined);
    assert.is(compile([...programs, lineServer]), '');
  });

  for (const snippet of programs)
    test(`run as they say: ${snippet.title}`, async () => {
      const printed = [...snippet.source.matchAll(PRINTED)].map(([, line]) => `${line}\n`);
      const options = { cwd: makeDirectory(), plain: true };
      const { stdout, stderr, code, signal } = await runFile(compiled(snippet), options);
      assert.equal([stdout, stderr, code, signal], [printed.join(''), '', 0, null]);
    });

  test('link to what is there', () => {
    const links = [...documents, 'README.md', 'CONTRIBUTING.md'].flatMap(linksOf);
    assert.ok(links.length > 0);
    assert.equal(
      links.filter((path) => !existsSync(join(root, path))),
      [],
    );
  });

  test('begin with a line server that serves lines until it is interrupted', async ({ defer }) => {
    assert.ok(lineServer !== undefined);
    const { name, source } = lineServer;
    const anywhere = { ...lineServer, name: `${name}-anywhere`, source: source.replace('7000', '0') };
    assert.is(compile([anywhere]), '');
    const child = startFile(compiled(anywhere), { plain: true });
    defer(() => {
      child.process.kill('SIGKILL');
      return child.result;
    });
    const [, port] = /:(\d+)$/m.exec(await heard(child, /:\d+\n/)) ?? [];
    const answers = text(connect(Number(port), '127.0.0.1').end('one\ntwo\n'));
    assert.is(await within(5_000, answers, 'the answers'), 'you said one\nyou said two\n');
    child.process.kill('SIGINT');
    const { stderr, code, signal } = await within(10_000, child.result, 'the end');
    assert.equal([stderr, code, signal], ['', 0, null]);
  });
});
