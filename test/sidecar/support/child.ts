/**
 * A child for the supervisor's tests: does what the first line of the file named in its configuration
 * says, and keeps a journal. Steps: serve; refuse and die (at the start, or of a successor when it is to
 * go); unloadable (a successor that dies before it is prepared); silent (never ready); brief (dies a
 * moment after it was ready); hang (does not stop); stubborn (does not yield).
 */
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { orderSchema, type Report } from '../../../sidecar/protocol.ts';

const BRIEF_MS = 50;
let step = 'serve';
let journal = '';

const note = (what: string): void =>
  appendFileSync(journal, `${process.argv[2]} ${process.pid} ${what}\n`);
const tell = (report: Report, sent: () => void = () => undefined): void => {
  process.send?.(report, sent);
};
const stay = setInterval(() => undefined, 60_000);

function serve(): void {
  if (step === 'refuse') {
    tell({ kind: 'failed', message: 'the address 127.0.0.1:1 is in use' }, () => process.exit(1));
    return;
  }
  if (step === 'die') process.exit(7);
  if (step === 'silent') return;
  const http = `127.0.0.1:${process.pid}`;
  tell({ kind: 'ready', addresses: { dns: [], smtp: [], http } });
  if (step === 'brief') setTimeout(() => process.exit(8), BRIEF_MS);
}

process.on('disconnect', () => process.exit(0));
process.on('SIGTERM', () => {
  if (step === 'hang') return;
  note('stopped');
  clearInterval(stay);
  process.disconnect();
});
process.on('message', (message) => {
  const order = orderSchema.parse(message);
  switch (order.kind) {
    case 'start': {
      journal = String(order.raw.journal);
      const script = String(order.raw.script);
      const [first = 'serve', ...rest] = readFileSync(script, 'utf8').split('\n');
      step = first;
      writeFileSync(script, rest.join('\n'));
      note(order.successor === true ? `prepares to ${step}` : step);
      if (step === 'unloadable') process.exit(9);
      if (order.successor === true) tell({ kind: 'prepared' });
      else serve();
      return;
    }
    case 'go':
      note('goes');
      return serve();
    case 'save':
      return tell({ kind: 'saved' });
    case 'yield':
      if (step === 'stubborn') return;
      note('yields');
      return tell({ kind: 'yielded' });
    case 'upgrade-status':
      return;
  }
});
