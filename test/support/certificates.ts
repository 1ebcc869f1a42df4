import { readFileSync } from 'node:fs';

/** A certificate and its key, in PEM: what node:tls takes. */
export interface Identity {
  readonly cert: string;
  readonly key: string;
}

/**
 * The authority behind {@link localhost}, {@link other} and {@link client}; its key was thrown away.
 * All of them are valid from 2020 to 2119. They are for these tests alone: their keys are public.
 */
export const authority: string = read('ca.pem');
/** A server: localhost, 127.0.0.1 and ::1. */
export const localhost: Identity = identity('localhost');
/** Another one on the same address: other.example. */
export const other: Identity = identity('other');
/** A client. */
export const client: Identity = identity('client');
/** Calls itself localhost, and nobody vouches for it. */
export const stranger: Identity = identity('stranger');

function identity(name: string): Identity {
  return { cert: read(`${name}.pem`), key: read(`${name}-key.pem`) };
}

function read(file: string): string {
  return readFileSync(new URL(`certificates/${file}`, import.meta.url), 'utf8');
}
