/** What a person reads on standard output when everything is up. */
import { type Addresses, PROGRAMS, type ProgramName } from './protocol.ts';
import { VERSION } from './version.ts';

export interface Greeting {
  readonly addresses: ReadonlyMap<ProgramName, Addresses>;
  readonly file: string | null;
  /** Milliseconds from the start of the process until ready. */
  readonly readyMs: number;
  readonly warnings: readonly string[];
}

type Row = readonly [label: string, value: string, hint: string];

export function greet({ addresses, file, readyMs, warnings }: Greeting): string {
  const rows: Row[] = [];
  const resolver = addresses.get('resolver');
  const mta = addresses.get('mta');
  for (const address of resolver?.dns ?? []) rows.push(['DNS', address, digLine(address)]);
  for (const address of mta?.smtp ?? [])
    rows.push(['SMTP', address, `swaks --server ${address} --to …`]);
  if (mta !== undefined) rows.push(['Dashboard', `http://${mta.http}/`, 'and the injection API']);
  else if (resolver !== undefined) rows.push(['Dashboard', `http://${resolver.http}/`, '']);
  for (const program of [resolver, mta]) {
    if (program !== undefined) rows.push(['Metrics', `http://${program.http}/metrics`, '']);
  }
  rows.push(['Config', file ?? 'defaults', file === null ? 'for want of ./postilion.toml' : '']);

  const names = PROGRAMS.filter((name) => addresses.has(name)).join(' + ');
  return [
    `Postilion ${VERSION}: ${names} ready in ${(readyMs / 1000).toFixed(2)} s`,
    '',
    ...table(rows),
    '',
    ...pointers(resolver, mta),
    ...warnings.map((warning) => `  Note: ${warning}`),
    '  Ctrl-C stops.',
    '',
  ].join('\n');
}

function table(rows: readonly Row[]): readonly string[] {
  const labelWidth = Math.max(...rows.map(([label]) => label.length));
  const valueWidth = Math.max(...rows.map(([, value]) => value.length));
  return rows.map(([label, value, hint]) =>
    `  ${label.padEnd(labelWidth)}  ${value.padEnd(valueWidth)}  ${hint}`.trimEnd(),
  );
}

/** How other programs on this host come to use it. */
function pointers(resolver: Addresses | undefined, mta: Addresses | undefined): readonly string[] {
  const lines: string[] = [];
  const [dns] = resolver?.dns ?? [];
  const [smtp] = mta?.smtp ?? [];
  if (dns !== undefined) lines.push(`  resolv.conf  ${resolvConfLine(dns)}`);
  if (smtp !== undefined) lines.push(`  Postfix      ${postfixLine(smtp)}`);
  return lines.length === 0 ? [] : [...lines, ''];
}

function resolvConfLine(dns: string): string {
  const [host, port] = split(dns);
  if (port === '53') return `nameserver ${host}`;
  return 'has no port: set resolver.listen = ["127.0.0.1:53"], then nameserver 127.0.0.1';
}

function postfixLine(smtp: string): string {
  const [host, port] = split(smtp);
  const literal = host.includes(':') ? `[ipv6:${host}]` : `[${host}]`;
  return `relayhost = ${literal}:${port}`;
}

function digLine(dns: string): string {
  const [host, port] = split(dns);
  return `dig @${host} -p ${port} example.com MX`;
}

/** "[::1]:53" → ["::1", "53"] */
function split(address: string): readonly [host: string, port: string] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon).replace(/^\[|\]$/g, ''), address.slice(colon + 1)];
}
