import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { EndpointArguments } from './description.ts';

/** What a file in PEM may hold (RFC 7468). */
export type PemLabel = 'CERTIFICATE' | 'PRIVATE KEY' | 'DH PARAMETERS';

/** The content of the file that an argument names, in which there is something of that label. */
export function readPem(args: EndpointArguments, name: string, path: string, label: PemLabel): string {
  const content = read(args, name, () => readFileSync(path, 'utf8'));
  if (!holds(content, label)) throw args.invalid(name, `a PEM file with '${label}' in it`, path);
  return content;
}

/** The certificates in a file, or in those of a directory whose names end in '.pem'. */
export function readAuthorities(args: EndpointArguments, name: string, path: string): string[] {
  if (!read(args, name, () => statSync(path).isDirectory()))
    return [readPem(args, name, path, 'CERTIFICATE')];
  const files = read(args, name, () => readdirSync(path)).filter((file) => /\.pem$/i.test(file));
  const contents = files.map((file) => read(args, name, () => readFileSync(join(path, file), 'utf8')));
  const authorities = contents.filter((content) => holds(content, 'CERTIFICATE'));
  if (authorities.length === 0) throw args.invalid(name, 'a directory with certificates in .pem files', path);
  return authorities;
}

/** Whether there is one; 'RSA PRIVATE KEY' and the like are of that label, too. */
function holds(content: string, label: PemLabel): boolean {
  return new RegExp(`^-----BEGIN ([A-Z0-9]+ )?${label}-----`, 'm').test(content);
}

function read<T>(args: EndpointArguments, name: string, reading: () => T): T {
  try {
    return reading();
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw args.invalid(name, `readable (${why})`);
  }
}
