/** dig as a client, its report parsed into what tests compare. */
import { runProcess } from './process.ts';

export interface DigRecord {
  /** Owner name as sent, with final dot. */
  readonly name: string;
  readonly ttlSeconds: number;
  /** Mnemonic, or "TYPE65534" for what dig does not know. */
  readonly type: string;
  /** Presentation format (RFC 3597 for unknown types). */
  readonly data: string;
}

export interface DigResponse {
  /** RCODE mnemonic, such as "NOERROR". */
  readonly status: string;
  /** Mnemonics of the header bits, such as ["qr", "rd", "ra"]. */
  readonly flags: readonly string[];
  readonly answer: readonly DigRecord[];
  readonly authority: readonly DigRecord[];
  readonly additional: readonly DigRecord[];
  /** The OPT pseudo-section as printed, or '' when there was none. */
  readonly edns: string;
  /** "UDP" or "TCP": what the final response came over. */
  readonly transport: string;
  readonly octets: number;
  readonly text: string;
}

export interface Server {
  readonly address: string;
  readonly port: number;
}

/**
 * Asks one question.
 * @param question dig's own arguments, such as ["example.net", "MX", "+dnssec"]
 * @throws Error with dig's report when there is no response
 */
export async function dig(server: Server, ...question: readonly string[]): Promise<DigResponse> {
  const { code, output } = await runProcess('dig', [
    `@${server.address}`,
    '-p',
    String(server.port),
    '+tries=1',
    '+time=6',
    '+nocookie',
    '+nocomments',
    '+comments',
    ...question,
  ]);
  if (code !== 0) throw new Error(`dig ${question.join(' ')} exited ${code}:\n${output}`);
  return parseDig(output);
}

export function parseDig(text: string): DigResponse {
  const header = /->>HEADER<<- opcode: \w+, status: (\w+)/.exec(text);
  const flags = /^;; flags: ([a-z ]*);/m.exec(text);
  return {
    status: header?.[1] ?? '',
    flags: (flags?.[1] ?? '').split(' ').filter((flag) => flag !== ''),
    answer: section(text, 'ANSWER'),
    authority: section(text, 'AUTHORITY'),
    additional: section(text, 'ADDITIONAL'),
    edns: /^;; OPT PSEUDOSECTION:\n((?:;.*\n)*?)(?:;; |\n)/m.exec(text)?.[1] ?? '',
    transport: /^;; SERVER: .*\((UDP|TCP)\)$/m.exec(text)?.[1] ?? '',
    octets: Number(/^;; MSG SIZE\s+rcvd: (\d+)$/m.exec(text)?.[1] ?? Number.NaN),
    text,
  };
}

function section(text: string, name: string): DigRecord[] {
  const start = text.indexOf(`;; ${name} SECTION:\n`);
  if (start === -1) return [];
  const body = text.slice(text.indexOf('\n', start) + 1);
  const records: DigRecord[] = [];
  for (const line of body.split('\n')) {
    if (line === '' || line.startsWith(';')) break;
    const [, owner, ttl, type, data] = /^(\S+)\s+(\d+)\s+\S+\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (owner === undefined)
      throw new Error(`dig printed a record this parser does not know: ${line}`);
    records.push({ name: owner, ttlSeconds: Number(ttl), type: type!, data: data! });
  }
  return records;
}
