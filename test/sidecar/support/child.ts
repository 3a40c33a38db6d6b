/** A child for the supervisor's tests: does what the first line of the file named in its configuration says. */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { orderSchema } from '../../../sidecar/protocol.ts';

process.once('message', (message) => {
  const order = orderSchema.parse(message);
  if (order.kind !== 'start') throw new Error(order.kind);
  const { script, journal } = order.raw;
  const [step = 'serve', ...rest] = readFileSync(String(script), 'utf8').split('\n');
  writeFileSync(String(script), rest.join('\n'));
  appendFileSync(String(journal), `${process.argv[2]} ${process.pid} ${step}\n`);
  const stay = setInterval(() => undefined, 60_000);
  process.on('disconnect', () => process.exit(0));
  if (step === 'refuse') {
    process.send?.({ kind: 'failed', message: 'the address 127.0.0.1:1 is in use' }, () =>
      process.exit(1),
    );
    return;
  }
  if (step === 'die') process.exit(7);
  process.on('SIGTERM', () => {
    if (step === 'hang') return;
    appendFileSync(String(journal), `${process.argv[2]} ${process.pid} stopped\n`);
    clearInterval(stay);
    process.disconnect();
  });
  process.send?.({
    kind: 'ready',
    addresses: { dns: [], smtp: [], http: `127.0.0.1:${process.pid}` },
  });
});
