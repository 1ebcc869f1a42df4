// Echo at the level of handlers and descriptors: what a server on ioloop costs at least.
//
// usage: handler-echo.ts BACKEND [--context]
//
// --context gives every connection an AsyncLocalStorage store of its own, which the handler checks.
import { AsyncLocalStorage } from 'node:async_hooks';
import { Interest, IOLoop, Ready } from 'ioloop';
import {
  acceptSocket,
  closeFd,
  EAGAIN,
  listenSocket,
  recv,
  send,
  socketAddress,
  toSystemError,
} from 'ioloop/raw';

const [backend, context] = process.argv.slice(2);
const loop = new IOLoop({ backend });
const listener = listenSocket({ host: '127.0.0.1', port: 0 });
const buffer = new Uint8Array(64 * 1024);
const backlog = new Map<number, Uint8Array>();
const store = new AsyncLocalStorage<number>();

function echo(fd: number, events: number): void {
  if ((events & Ready.WRITE) !== 0) drain(fd);
  else answer(fd);
}

function answer(fd: number): void {
  const received = recv(fd, buffer);
  if (received <= 0) {
    if (received !== EAGAIN) drop(fd);
    return;
  }
  const sent = send(fd, buffer, 0, received);
  if (sent === received) return;
  if (sent < 0 && sent !== EAGAIN) {
    drop(fd);
    return;
  }
  // Nothing more is read until the peer has taken this: the backlog is one buffer at most.
  backlog.set(fd, buffer.slice(Math.max(sent, 0), received));
  loop.updateHandler(fd, Interest.WRITE);
}

function drain(fd: number): void {
  const rest = backlog.get(fd) ?? new Uint8Array(0);
  const sent = send(fd, rest);
  if (sent === rest.length) {
    backlog.delete(fd);
    loop.updateHandler(fd, Interest.READ);
  } else if (sent >= 0) {
    backlog.set(fd, rest.subarray(sent));
  } else if (sent !== EAGAIN) {
    drop(fd);
  }
}

function drop(fd: number): void {
  backlog.delete(fd);
  loop.removeHandler(fd);
  closeFd(fd);
}

function echoInContext(fd: number, events: number): void {
  if (store.getStore() !== fd) throw new Error(`the context of descriptor ${fd} is lost`);
  echo(fd, events);
}

function accept(): void {
  for (;;) {
    const fd = acceptSocket(listener);
    if (fd === EAGAIN) return;
    if (fd < 0) throw toSystemError(fd, 'accept');
    if (context === '--context') store.run(fd, () => loop.addHandler(fd, echoInContext, Interest.READ));
    else loop.addHandler(fd, echo, Interest.READ);
  }
}

loop.addHandler(listener, accept, Interest.READ);
const address = socketAddress(listener);
if (address.family !== 'Unix') console.log(address.port);
process.once('SIGTERM', () => process.exit(0));
