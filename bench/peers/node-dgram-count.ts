// Counts UDP datagrams on Node's own dgram; one of less than 16 bytes asks how many there were.
import { createSocket } from 'node:dgram';

const leastSize = 16;
let datagrams = 0;
let bytes = 0;

const socket = createSocket('udp4');
socket.on('message', (data, { port, address }) => {
  if (data.length < leastSize) {
    socket.send(`${data} ${datagrams} ${bytes}`, port, address);
    return;
  }
  datagrams++;
  bytes += data.length;
});
socket.on('error', () => {});
socket.bind(0, '127.0.0.1', () => console.log(socket.address().port));
process.once('SIGTERM', () => process.exit(0));
