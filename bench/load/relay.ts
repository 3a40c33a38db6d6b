/**
 * A TCP relay that adds delay: a path as long as the real one, on a machine whose kernel has no netem.
 *
 *     node bench/load/relay.ts --listen 0.0.0.0:2525 --to 127.0.0.1:2526 --delay-ms 40
 *
 * Each way takes --delay-ms, connecting too; order is kept, and nothing else is changed: there is no
 * bound on octets under way, as on a path of unlimited bandwidth. Prints {"port"} when it listens and
 * {"connections"} for every line on its input.
 */
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { parseEndpoint } from '../../runtime/settings.ts';

const { values } = parseArgs({
  options: {
    listen: { type: 'string', default: '127.0.0.1:0' },
    to: { type: 'string', default: '' },
    'delay-ms': { type: 'string', default: '40' },
  },
});
const listen = parseEndpoint(values.listen, 0)!;
const target = parseEndpoint(values.to, 0)!;
const delayMs = Number(values['delay-ms']);
let connections = 0;

/** Timers of one length fire in the order they were set, so octets stay in order. */
function pipe(from: Socket, to: Socket): void {
  from.on('data', (chunk) => setTimeout(() => to.writable && to.write(chunk), delayMs));
  from.on('end', () => setTimeout(() => to.end(), delayMs));
  from.on('error', () => to.destroy());
  from.on('close', (failed) => failed && to.destroy());
}

const server = createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
  connections += 1;
  near.on('error', () => undefined);
  const far = connect({
    host: target.address,
    port: target.port,
    noDelay: true,
    allowHalfOpen: true,
  });
  pipe(near, far);
  pipe(far, near);
});
const print = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
server.listen({ host: listen.address, port: listen.port }, () => {
  const address = server.address();
  print({ port: typeof address === 'object' ? address?.port : null });
});
const input = createInterface({ input: process.stdin });
input.on('line', () => print({ connections }));
input.on('close', () => process.exit(0));
