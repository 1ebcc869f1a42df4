/** Whether this is `npm run test:long`: the full counts. */
export const long: boolean = process.env.IOLOOP_LONG === '1';

/** How often to do something: `quick` in `npm test`, `full` in `npm run test:long`. */
export function count(quick: number, full: number): number {
  return long ? full : quick;
}
