/**
 * The authority of the mail benches as a program: {@link workloadZones} at an address and port.
 *
 *     node bench/load/mail-dns.ts --address 127.9.0.53 --port 53 --domains 300 --network 9
 *
 * Prints {"port"} when it answers, and {"total","distinct"} for every line on its input.
 */
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { startAuthority } from './authority.ts';
import { workloadZones } from './mail-workload.ts';

const { values } = parseArgs({
  options: {
    address: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '0' },
    domains: { type: 'string', default: '300' },
    network: { type: 'string', default: '1' },
    'own-hosts': { type: 'boolean', default: false },
  },
});
const port = Number(values.port);
const authority = await startAuthority({
  zones: workloadZones(Number(values.domains), Number(values.network), values['own-hosts']),
  address: values.address,
  ...(port === 0 ? {} : { port }),
});
const print = (line: object): boolean => process.stdout.write(`${JSON.stringify(line)}\n`);
print({ port: authority.port });
const input = createInterface({ input: process.stdin });
input.on('line', () => print({ total: authority.total(), distinct: authority.questions.size }));
input.on('close', () => process.exit(0));
