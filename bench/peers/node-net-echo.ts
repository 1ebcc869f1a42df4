// Echo on Node's own net.
//
// usage: node-net-echo.ts [--context]
//
// --context gives every connection an AsyncLocalStorage store of its own, which the listener checks.
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';
import { createServer, type Socket } from 'node:net';

const store = new AsyncLocalStorage<Socket>();
const inContext = process.argv[2] === '--context';

const server = createServer({ noDelay: true }, (socket) => {
  const echo = (data: Buffer): void => {
    if (!socket.write(data)) {
      socket.pause();
      socket.once('drain', () => socket.resume());
    }
  };
  const echoInContext = (data: Buffer): void => {
    if (store.getStore() !== socket) throw new Error('the context of a connection is lost');
    echo(data);
  };
  socket.on('data', inContext ? store.run(socket, () => AsyncResource.bind(echoInContext)) : echo);
  socket.on('error', () => socket.destroy());
});

server.listen({ host: '127.0.0.1', port: 0, backlog: 4096 }, () => {
  const address = server.address();
  if (address !== null && typeof address === 'object') console.log(address.port);
});
process.once('SIGTERM', () => process.exit(0));
