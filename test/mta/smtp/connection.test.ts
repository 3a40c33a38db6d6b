/** The client against the sink: modes, TLS, and the life of a connection. */
import { describe, expect, onTestFinished, test } from 'vitest';
import { selfSigned } from '../../../bench/load/certificate.ts';
import { type Sink, type SinkOptions, startSink } from '../../../bench/load/sink.ts';
import { openConnection } from '../../../mta/smtp/connection.ts';
import { HostMemory, LADDER } from '../../../mta/smtp/manners.ts';
import { createClientContext } from '../../../mta/smtp/tickets.ts';
import { systemClock } from '../../../runtime/clock.ts';
import { deliver, factText, type Letter, letter, newDeps } from './support.ts';

async function sinkFor(options: SinkOptions = {}): Promise<{ sink: Sink; port: number }> {
  const sink = await startSink(options);
  onTestFinished(() => sink.close());
  return { sink, port: sink.endpoints[0]!.port };
}

const OFFERS = [
  { chunking: true, pipelining: true },
  { chunking: false, pipelining: true },
  { chunking: true, pipelining: false },
  { chunking: false, pipelining: false },
];
const MODES = OFFERS.flatMap((offer) => LADDER.map((manners, rung) => ({ offer, manners, rung })));

describe('every mode against every offer', () => {
  test.each(MODES)(
    'PIPELINING $offer.pipelining, CHUNKING $offer.chunking, $manners.mode',
    async ({ offer, rung }) => {
      const taken: string[] = [];
      const { sink, port } = await sinkFor({
        ...offer,
        header: 'x-id',
        onRecipient: (address) => (address.startsWith('no') ? '550 5.1.1 no such user' : null),
        onMessage({ header, octets, recipients }) {
          taken.push(`${header} ${octets} ${recipients.length}`);
          return header === '7' ? '554 5.7.1 not this one' : null;
        },
      });
      const hosts = new HostMemory(systemClock());
      for (const manners of LADDER.slice(0, rung)) hosts.stepDown('sink.example', manners);
      const letters = Array.from({ length: 50 }, (_, index) =>
        letter(`l${index}`, {
          recipients:
            index % 5 === 4
              ? ['no1@example.org', 'no2@example.org']
              : ['yes@example.org', 'no@example.org'],
          // No line begins with a dot, so that the sink counts the same octets either way.
          content: Buffer.from(`X-Id: ${index}\r\n\r\n${'hello\r\n'.repeat(index * 100)}`),
        }),
      );
      const told = await deliver(port, {
        letters,
        target: { tls: 'require' },
        deps: newDeps({ hosts }),
      });
      expect(told.cause).toEqual({ kind: 'quit' });
      expect(told.untouched).toEqual([]);
      expect(told.outcomes).toEqual(
        letters.map(({ name }, index) => {
          const refused = 'rcpt 550 5.1.1 no such user';
          if (index % 5 === 4) return [name, refused, refused];
          const final = index === 7 ? '554 5.7.1 not this one' : '250 2.0.0 taken';
          return [name, `endOfData ${final}`, refused];
        }),
      );
      expect(taken).toEqual(
        letters.flatMap(({ content }, index) =>
          index % 5 === 4 ? [] : [`${index} ${content.length} 1`],
        ),
      );
      expect(sink.counts).toMatchObject({ connections: 1, messages: 39, handshakesFull: 1 });
      // Where content goes along with a refused RCPT the sink has to say 503 to it.
      if (!(offer.pipelining && rung < 3 && (!offer.chunking || rung !== 1))) {
        expect(sink.counts.errors).toBe(0);
      }
    },
  );
});

describe('content', () => {
  test.each([true, false])('16 MB with dots, CHUNKING %s', async (chunking) => {
    const { sink, port } = await sinkFor({ chunking });
    const content = Buffer.from(`..\r\n${'x'.repeat(996)}\r\n`.repeat(16_384));
    const told = await deliver(port, { letters: [letter('a', { content }), letter('b')] });
    expect(told.outcomes).toEqual([
      ['a', 'endOfData 250 2.0.0 taken'],
      ['b', 'endOfData 250 2.0.0 taken'],
    ]);
    const stuffing = chunking ? 0 : 16_384;
    expect(sink.counts.octets).toBe(content.length + stuffing + 25);
  });

  test('UTF-8 addresses', async () => {
    const seen: string[] = [];
    const { port } = await sinkFor({
      onRecipient(recipient) {
        seen.push(Buffer.from(recipient, 'latin1').toString());
        return null;
      },
    });
    const recipients = ['grün@grün.example'];
    await deliver(port, { letters: [letter('a', { recipients, smtpUtf8: true })] });
    expect(seen).toEqual(recipients);
  });
});

describe('TLS', () => {
  test('the second connection resumes, and the verdict comes along', async () => {
    const certificate = selfSigned(['sink.example']);
    const { sink, port } = await sinkFor({ certificate });
    const deps = newDeps({ tlsContext: createClientContext(certificate.cert) });
    for (const resumed of [false, true, true]) {
      const told = await deliver(port, {
        letters: [letter('a')],
        target: { tls: 'verify' },
        deps,
      });
      expect(told.outcomes).toEqual([['a', 'endOfData 250 2.0.0 taken']]);
      expect(told.connection.tls).toEqual({
        protocol: 'TLSv1.3',
        cipher: 'TLS_AES_256_GCM_SHA384',
        resumed,
        verified: true,
        fault: null,
      });
    }
    expect(sink.counts).toMatchObject({ handshakesFull: 1, handshakesResumed: 2 });
    expect(deps.counters).toEqual({
      attempted: 3,
      readyFull: 1,
      readyResumed: 2,
      readyClear: 0,
      sentAhead: 0,
    });
  });

  test('a ticket won without verification does not open a verified connection', async () => {
    const { sink, port } = await sinkFor();
    const deps = newDeps();
    const tls = ['opportunistic', 'verify', 'opportunistic', 'verify'] as const;
    const seen: string[] = [];
    for (const mode of tls) {
      const told = await deliver(port, { letters: [letter('a')], target: { tls: mode }, deps });
      seen.push(
        told.cause.kind === 'tls' ? told.cause.fault : `resumed ${told.connection.tls?.resumed}`,
      );
    }
    expect(seen).toEqual(['resumed false', 'untrusted', 'resumed true', 'untrusted']);
    expect(sink.counts.messages).toBe(2);
  });

  test('each policy has tickets of its own, though the certificate would do for all', async () => {
    const certificate = selfSigned(['sink.example']);
    const { port } = await sinkFor({ certificate });
    const deps = newDeps({ tlsContext: createClientContext(certificate.cert) });
    const seen: (boolean | undefined)[] = [];
    for (const tls of ['opportunistic', 'verify', 'opportunistic', 'verify'] as const) {
      const told = await deliver(port, { letters: [letter('a')], target: { tls }, deps });
      seen.push(told.connection.tls?.resumed);
    }
    expect(seen).toEqual([false, false, true, true]);
  });

  test('a resumed session shows no name: the verdict is that of the full handshake', async () => {
    const certificate = selfSigned(['other.example']);
    const { port } = await sinkFor({ certificate });
    const deps = newDeps({ tlsContext: createClientContext(certificate.cert) });
    for (const resumed of [false, true]) {
      const told = await deliver(port, {
        letters: [letter('a')],
        target: { tls: 'opportunistic' },
        deps,
      });
      expect(told.connection.tls).toMatchObject({
        resumed,
        verified: false,
        fault: 'ERR_TLS_CERT_ALTNAME_INVALID',
      });
    }
  });

  test('verify: another name', async () => {
    const certificate = selfSigned(['other.example']);
    const { sink, port } = await sinkFor({ certificate });
    const deps = newDeps({ tlsContext: createClientContext(certificate.cert) });
    const told = await deliver(port, { letters: [letter('a')], target: { tls: 'verify' }, deps });
    expect(told).toMatchObject({
      outcomes: [],
      cause: {
        kind: 'tls',
        fault: 'untrusted',
        detail: 'certificate of sink.example: ERR_TLS_CERT_ALTNAME_INVALID',
      },
    });
    expect(sink.counts.messages).toBe(0);
  });

  test('an address literal has no SNI', async () => {
    const { port } = await sinkFor();
    const told = await deliver(port, {
      letters: [letter('a')],
      target: { tls: 'require', host: '127.0.0.1' },
    });
    expect(told.outcomes).toEqual([['a', 'endOfData 250 2.0.0 taken']]);
  });
});

describe('the life of a connection', () => {
  test('idle, woken, quit', async () => {
    const { sink, port } = await sinkFor();
    const letters: Letter[] = [];
    const states: string[] = [];
    const told = await deliver(port, {
      letters,
      stay: true,
      onReady(connection) {
        states.push(connection.state);
        setImmediate(() => {
          states.push(connection.state);
          letters.push(letter('a'), letter('b'));
          connection.wake();
          states.push(connection.state);
        });
      },
      onOutcome(connection) {
        if (connection.messages === 2 && sink.counts.messages === 2) {
          connection.quit();
          states.push(connection.state);
        }
      },
    });
    expect(states.slice(0, 3)).toEqual(['idle', 'idle', 'busy']);
    expect(states.at(-1)).toBe('quitting');
    expect(told.cause).toEqual({ kind: 'quit' });
    expect(told.connection.state).toBe('closed');
  });

  test('quit finishes what is under way and asks for nothing more', async () => {
    const { sink, port } = await sinkFor({ delayMs: 5 });
    const letters = Array.from({ length: 5 }, (_, index) => letter(`l${index}`));
    const told = await deliver(port, {
      letters,
      stay: true,
      onOutcome: (connection) => connection.quit(),
    });
    expect(told.cause).toEqual({ kind: 'quit' });
    expect(told.untouched).toEqual([]);
    expect(told.outcomes.length).toBe(sink.counts.messages);
    expect(told.outcomes.length).toBeLessThan(5);
  });

  test('destroy tells what is under way as lost, also from within a callback', async () => {
    const { port } = await sinkFor();
    const told = await deliver(port, {
      letters: [letter('a'), letter('b'), letter('c')],
      stay: true,
      onOutcome(connection) {
        if (connection.state !== 'closed') connection.destroy();
      },
    });
    expect(told.cause).toEqual({ kind: 'destroyed' });
    expect(told.outcomes).toEqual([
      ['a', 'endOfData 250 2.0.0 taken'],
      ['b', 'lost maybe'],
    ]);
    expect(told.untouched).toEqual(['c']);
  });

  test('quit before it is ready closes at once', async () => {
    const { port } = await sinkFor();
    const told = await new Promise<string>((resolve) => {
      openConnection(
        { host: 'mx', address: '127.0.0.1', port, tls: 'none', clientName: 'me.example' },
        newDeps(),
        {
          next: () => null,
          onOutcome: (_, facts) => resolve(facts.map(factText).join()),
          onClosed: (cause) => resolve(cause.kind),
        },
      ).quit();
    });
    expect(told).toBe('destroyed');
  });
});
