import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';
import { inject } from '../../../bench/load/injector.ts';
import { type Sink, startSink } from '../../../bench/load/sink.ts';
import { mtaSchema } from '../../../mta/config.ts';
import { startMta } from '../../../mta/main.ts';
import type { RunningMta } from '../../../mta/running.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { silentLog } from '../../../runtime/log.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  DANE_ADDRESSES,
  DANE_CERTIFICATE,
  DANE_ORIGIN,
  DANE_TRUST_ANCHOR,
  daneZone,
} from '../../support/dane-zone.ts';
import { type Nsd, startNsd } from '../../support/nsd.ts';
import { requirePeer } from '../../support/peers.ts';
import { waitFor } from '../../support/process.ts';
import { freePort, scratchFolder } from '../../support/scratch.ts';
import { startUnbound, type Unbound } from '../../support/unbound.ts';

requirePeer(
  'nsd',
  'unbound',
  'loopback-network',
)('DANE, behind a validating resolver', () => {
  let nsd: Nsd;
  let unbound: Unbound;
  let cleanup: Cleanup;
  beforeAll(async () => {
    nsd = await startNsd([daneZone]);
    unbound = await startUnbound({
      zones: [DANE_ORIGIN],
      authority: nsd,
      trustAnchor: DANE_TRUST_ANCHOR,
    });
  });
  afterAll(async () => {
    await unbound?.stop();
    await nsd?.stop();
  });
  beforeEach(() => {
    cleanup = new Cleanup();
  });
  afterEach(() => cleanup.run());

  async function sinkAt(
    host: keyof typeof DANE_ADDRESSES,
    port: number,
    options: object,
  ): Promise<Sink> {
    const listen = [{ address: DANE_ADDRESSES[host], port }];
    const sink = await startSink({ listen, ...options });
    cleanup.add(() => sink.close());
    return sink;
  }

  async function mtaFor(port: number, delivery: object = {}): Promise<RunningMta> {
    const folder = await scratchFolder('dane');
    cleanup.add(() => folder.remove());
    const config = mtaSchema.parse({
      smtp: ['127.0.0.1:0'],
      spool: folder.path,
      spool_reserve: 0,
      dns: `${unbound.address}:${unbound.port}`,
      hostname: 'mta.example',
      delivery: { port, ...delivery },
    });
    const deps = { clock: systemClock(), random: cryptoRandom(), log: silentLog };
    return cleanup.stop(await startMta(config, deps));
  }

  async function send(mta: RunningMta, domain: string): Promise<void> {
    const content = [Buffer.from('Subject: x\r\n\r\nx\r\n')];
    const letter = { id: domain, reversePath: 'a@b.example', recipients: [`c@${domain}`], content };
    const { address, port } = mta.endpoints[0]!;
    await inject({ address, port, sessions: 1, letters: [letter].values() });
  }

  /** Waits for a deferral and returns why. */
  async function whyWaiting(mta: RunningMta): Promise<string> {
    let text = '';
    await waitFor(async () => {
      const [waiting] = await mta.queue({ domain: null, after: null, limit: 1 });
      text = waiting?.wait.text ?? '';
      return /TLSA|certificate|TLS failed/.test(text);
    }, 'a reason');
    return text;
  }

  test('a certificate that its TLSA record names is enough, and the next session resumes', async () => {
    const port = await freePort(DANE_ADDRESSES.mx);
    const sink = await sinkAt('mx', port, { certificate: DANE_CERTIFICATE });
    const mta = await mtaFor(port, { messages_per_connection: 1 });
    for (const count of [1, 2]) {
      await send(mta, DANE_ORIGIN);
      await waitFor(() => sink.counts.messages === count, 'the message');
    }
    expect(sink.counts).toMatchObject({ handshakesFull: 1, handshakesResumed: 1 });
    const [site] = (await mta.status()).sites;
    expect(site?.id).toBe(`1:${port}:opportunistic+dane::mx.${DANE_ORIGIN}`);
  });

  describe('nothing is sent', () => {
    test.each([
      {
        to: `wrong.${DANE_ORIGIN}`,
        host: 'mx-wrong',
        options: {},
        why: /certificate of mx-wrong.dane.example: TLSA_MISMATCH/,
      },
      {
        to: DANE_ORIGIN,
        host: 'mx',
        options: { certificate: selfSigned(['mx.dane.example']) },
        why: /TLSA_MISMATCH/,
      },
      {
        to: DANE_ORIGIN,
        host: 'mx',
        options: { startTls: false },
        why: /TLS failed \(not-offered\)/,
      },
      {
        to: `unusable.${DANE_ORIGIN}`,
        host: 'mx-unusable',
        options: { startTls: false },
        why: /TLS failed \(not-offered\)/,
      },
      {
        to: `bogus.${DANE_ORIGIN}`,
        host: 'mx-bogus',
        options: {},
        why: /looking up TLSA of _\d+\._tcp\.mx-bogus\.dane\.example: the resolver says SERVFAIL/,
      },
    ] as const)('to $to: $why', async ({ to, host, options, why }) => {
      const port = await freePort(DANE_ADDRESSES[host]);
      const sink = await sinkAt(host, port, options);
      const mta = await mtaFor(port);
      await send(mta, to);
      expect(await whyWaiting(mta)).toMatch(why);
      expect(sink.counts.messages).toBe(0);
    });
  });

  test.each([
    { to: `plain.${DANE_ORIGIN}`, host: 'mx-plain', options: { startTls: false }, delivery: {} },
    { to: `unusable.${DANE_ORIGIN}`, host: 'mx-unusable', options: {}, delivery: {} },
    { to: `wrong.${DANE_ORIGIN}`, host: 'mx-wrong', options: {}, delivery: { dane: false } },
  ] as const)('$to is sent to: nothing forbids it ($delivery)', async (row) => {
    const port = await freePort(DANE_ADDRESSES[row.host]);
    const sink = await sinkAt(row.host, port, row.options);
    const mta = await mtaFor(port, row.delivery);
    await send(mta, row.to);
    await waitFor(() => sink.counts.messages === 1, 'the message');
  });
});
