/** A certificate authority of one test, by openssl: for what asks for a chain, not just a certificate. */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Certificate } from '../../bench/load/certificate.ts';
import { scratchFolder } from './scratch.ts';

export interface Authority {
  /** PEM of its own certificate. */
  readonly cert: string;
  /** A certificate for these DNS names, the authority's own behind it. */
  issue(...names: readonly string[]): Certificate;
  remove(): Promise<void>;
}

const EC = '-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes';

export async function createAuthority(): Promise<Authority> {
  const folder = await scratchFolder('authority');
  const at = (name: string): string => join(folder.path, name);
  /** @param command words without spaces in them, run within the folder */
  const openssl = (command: string): void =>
    void execFileSync('openssl', command.split(' '), { cwd: folder.path, stdio: 'ignore' });
  const read = (name: string): string => readFileSync(at(name), 'utf8');
  openssl(`req -x509 ${EC} -days 2 -subj /CN=Authority -keyout ca.key -out ca.pem`);
  const cert = read('ca.pem');
  return {
    cert,
    issue(...names) {
      writeFileSync(at('ext'), `subjectAltName=${names.map((name) => `DNS:${name}`).join(',')}\n`);
      openssl(`req ${EC} -subj /CN=test -keyout leaf.key -out leaf.csr`);
      openssl('x509 -req -days 2 -in leaf.csr -extfile ext -CA ca.pem -CAkey ca.key -out leaf.pem');
      return { key: read('leaf.key'), cert: read('leaf.pem') + cert };
    },
    remove: () => folder.remove(),
  };
}
