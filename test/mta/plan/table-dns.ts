/** DNS as a table, changed by the test while it runs; it counts what it is asked. */
import type { Dns } from '../../../mta/plan/dns.ts';
import type { Lookup, TroubleCause } from '../../../mta/plan/dns-answer.ts';
import type { MxRdata, TlsaRdata } from '../../../resolver/wire/rdata.ts';

export const answer = <Rdata>(records: readonly Rdata[], ttlSeconds = 300): Lookup<Rdata> => ({
  kind: 'answer',
  records,
  ttlSeconds,
  authenticated: false,
});
export const nodata: Lookup<never> = { kind: 'nodata', ttlSeconds: 60 };
export const nxdomain: Lookup<never> = { kind: 'nxdomain', ttlSeconds: 60 };
export const trouble = (cause: TroubleCause = 'servfail'): Lookup<never> => ({
  kind: 'trouble',
  cause,
  text: `as if ${cause}`,
});
/** mx(10, 'a.example.net', 20, 'b.example.net') */
export function mx(...pairs: readonly (number | string)[]): Lookup<MxRdata> {
  const records: MxRdata[] = [];
  for (let at = 0; at < pairs.length; at += 2) {
    records.push({ preference: Number(pairs[at]), exchange: `${pairs[at + 1]}.` });
  }
  return answer(records);
}

export class TableDns implements Dns {
  readonly asked: string[] = [];
  /** While set, the word on every name. */
  outage: Lookup<never> | null = null;
  readonly #mx: Record<string, Lookup<MxRdata>>;
  readonly #a: Record<string, Lookup<string> | string>;
  readonly #aaaa: Record<string, Lookup<string> | string>;
  readonly #txt: Record<string, Lookup<readonly string[]>>;
  readonly #tlsa: Record<string, Lookup<TlsaRdata>>;

  /** Names that are in no table do not exist; a string is one address. */
  constructor(tables: {
    mx?: Record<string, Lookup<MxRdata>>;
    a?: Record<string, Lookup<string> | string>;
    aaaa?: Record<string, Lookup<string> | string>;
    txt?: Record<string, Lookup<readonly string[]>>;
    tlsa?: Record<string, Lookup<TlsaRdata>>;
  }) {
    this.#mx = tables.mx ?? {};
    this.#a = tables.a ?? {};
    this.#aaaa = tables.aaaa ?? {};
    this.#txt = tables.txt ?? {};
    this.#tlsa = tables.tlsa ?? {};
  }

  async mx(name: string): Promise<Lookup<MxRdata>> {
    this.asked.push(`MX ${name}`);
    if (this.outage !== null) return this.outage;
    return this.#mx[name] ?? (this.#exists(name) ? nodata : nxdomain);
  }

  async addresses(name: string, family: 4 | 6): Promise<Lookup<string>> {
    this.asked.push(`${family === 4 ? 'A' : 'AAAA'} ${name}`);
    if (this.outage !== null) return this.outage;
    const found = (family === 4 ? this.#a : this.#aaaa)[name];
    if (typeof found === 'string') return answer([found]);
    return found ?? (this.#exists(name) ? nodata : nxdomain);
  }

  async txt(name: string): Promise<Lookup<readonly string[]>> {
    this.asked.push(`TXT ${name}`);
    return this.outage ?? this.#txt[name] ?? nxdomain;
  }

  async tlsa(name: string): Promise<Lookup<TlsaRdata>> {
    this.asked.push(`TLSA ${name}`);
    return this.outage ?? this.#tlsa[name] ?? nxdomain;
  }

  setTxt(name: string, lookup: Lookup<readonly string[]>): void {
    this.#txt[name] = lookup;
  }

  setTlsa(name: string, lookup: Lookup<TlsaRdata>): void {
    this.#tlsa[name] = lookup;
  }

  setMx(name: string, lookup: Lookup<MxRdata>): void {
    this.#mx[name] = lookup;
  }

  setA(name: string, lookup: Lookup<string>): void {
    this.#a[name] = lookup;
  }

  /** What was asked since the last time. */
  drain(): string[] {
    return this.asked.splice(0);
  }

  #exists(name: string): boolean {
    return name in this.#mx || name in this.#a || name in this.#aaaa;
  }
}
