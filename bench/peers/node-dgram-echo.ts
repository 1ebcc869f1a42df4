// Echo of UDP datagrams on Node's own dgram.
import { createSocket } from 'node:dgram';

const socket = createSocket('udp4');
socket.on('message', (data, { port, address }) => socket.send(data, port, address));
// Without a callback, what cannot be sent is told here, and is lost as a datagram may be.
socket.on('error', () => {});
socket.bind(0, '127.0.0.1', () => console.log(socket.address().port));
process.once('SIGTERM', () => process.exit(0));
