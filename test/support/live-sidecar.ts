/**
 * A real sidecar with real traffic, for whoever looks at its pages: mail to a small internet of loopback
 * addresses, DNS clients, and hosts that are dead, slow, grumpy, or write markup into their replies.
 */
import { randomInt } from 'node:crypto';
import { type AuthorityRecord, startAuthority } from '../../bench/load/authority.ts';
import { askAll } from '../../bench/load/dns-client.ts';
import { inject, type Letter } from '../../bench/load/injector.ts';
import { createInternet, seededFraction } from '../../bench/load/internet.ts';
import { type Postilion, startPostilion } from '../../bench/load/postilion.ts';
import { greylist, type SinkOptions, startSink } from '../../bench/load/sink.ts';
import type { Cleanup } from './cleanup.ts';
import { freePort } from './scratch.ts';

/** Runs nothing as text; as markup it would set a property of the window. */
export const MARKUP = '<img src=x onerror=owned=1>';
/** A name that DNS allows and no page may take for markup. */
export const MARKUP_NAME = '<script>owned=1</script>.evil.example';
export const TOKEN = 'correct-horse-battery-staple';

const DOMAINS = 200;
const PROVIDERS = 9;
const NEW_NAMES_SHARE = 0.06;
const CHARACTERS = 'Subject: hello\r\n\r\nhello\r\n';

/** Domains with a fate of their own. */
const ODD = ['grumpy.example', 'dead.example', 'slow.example', 'busy.example'] as const;
export type OddDomain = (typeof ODD)[number];

export interface LiveSidecar {
  readonly postilion: Postilion;
  /** Resolves when all have been acknowledged. */
  mail(count: number): Promise<void>;
  mailTo(recipients: readonly string[]): Promise<void>;
  /** Questions of clients other than the mta, of domains drawn by weight. */
  ask(count: number, perSecond: number): Promise<void>;
  askFor(names: readonly string[]): Promise<void>;
}

const SECOND_MS = 1_000;
/** Of one wave of mail, there and back. */
const WAVE_SECONDS = 90;

/**
 * An afternoon in minutes: mail in waves, clients that ask, a domain that is behind, hosts that complain.
 * @returns how to end it
 */
export function startTraffic(live: LiveSidecar): () => Promise<void> {
  const jobs = new Set<Promise<void>>();
  const run = (job: Promise<void>): void => {
    jobs.add(job);
    void job.finally(() => jobs.delete(job));
  };
  let second = 0;
  const timer = setInterval(() => {
    second += 1;
    run(live.mail(18 + Math.round(12 * Math.sin((second * 2 * Math.PI) / WAVE_SECONDS))));
    run(live.ask(90, 100));
    if (second % 5 === 0) {
      run(live.mailTo(Array.from({ length: 22 }, (_, index) => `u${index}@slow.example`)));
    }
    if (second % 45 === 20) run(live.mailTo(['a@busy.example', 'b@busy.example']));
    if (second % 60 === 6) run(live.askFor(['nowhere.invalid.example']));
  }, SECOND_MS);
  return async () => {
    clearInterval(timer);
    await Promise.all(jobs);
  };
}

export interface LiveOptions {
  readonly program: 'up' | 'resolver' | 'mta';
  /** Of the resolver; 0 is none. */
  readonly budget?: number;
}

export async function startLiveSidecar(
  { program, budget = 0 }: LiveOptions,
  cleanup: Cleanup,
): Promise<LiveSidecar> {
  const network = randomInt(16, 240);
  const internet = createInternet({ domains: DOMAINS, providers: PROVIDERS, network });
  const zones = new Map(internet.zones);
  for (const [index, domain] of ODD.entries()) {
    const host = `mx.${domain}`;
    const address = oddAddress(network, index);
    zones.set(domain, [mx(domain, host), { name: host, type: 'A', ttlSeconds: 300, address }]);
  }
  const authority = cleanup.stop(await startAuthority({ zones }));
  const port = await freePort();
  const open = async (address: string, options: SinkOptions): Promise<void> => {
    const sink = await startSink({ ...options, listen: [{ address, port }] });
    cleanup.add(() => sink.close());
  };
  for (const [index, { address }] of internet.providers.entries()) {
    await open(address, { delayMs: 5 + 7 * index, ...manners(index) });
  }
  await open(oddAddress(network, 0), {
    onRecipient: () => `450 4.2.1 ${MARKUP} mailbox <b>busy</b>`,
  });
  await open(oddAddress(network, 2), { delayMs: 20 });
  await open(oddAddress(network, 3), { onRecipient: unusualRate() });
  const postilion = cleanup.stop(
    await startPostilion({
      program,
      upstream: authority,
      resolver: { budget },
      admin: { token: TOKEN },
      mta: {
        retry: ['20s', '40s', '5m'],
        shaping: { community: false, domain: { 'slow.example': { messages_per_second: 4 } } },
        delivery: { port },
      },
    }),
  );
  const fraction = seededFraction(7);
  let number = 0;
  /** Now and then one that nobody has asked for yet. */
  const nameToAsk = (): string => {
    const domain = internet.pick(fraction());
    return fraction() < NEW_NAMES_SHARE ? `n${number++}.${domain}` : domain;
  };
  const letter = (to: string): Letter => ({
    id: String(number++),
    reversePath: `news@${internet.domains.at(-1)}`,
    recipients: [to],
    content: [Buffer.from(CHARACTERS)],
  });
  const send = async (recipients: readonly string[]): Promise<void> => {
    const { failed } = await inject({
      ...postilion.smtp,
      sessions: 2,
      letters: recipients.map(letter).values(),
    });
    if (failed.size > 0) throw new Error([...failed.values()].join('\n'));
  };
  return {
    postilion,
    mailTo: send,
    mail: (count) =>
      send(
        Array.from({ length: count }, (_, index) => {
          const gone = fraction() < 0.01 ? 'gone' : 'm';
          return `${gone}-${index}@${internet.pick(fraction())}`;
        }),
      ),
    async ask(count, perSecond) {
      await askAll({
        server: postilion.dns,
        nameOf: (at) => (at < count ? nameToAsk() : null),
        outstandingMax: 100,
        perSecond,
      });
    },
    async askFor(names) {
      const nameOf = (at: number) => names[at] ?? null;
      await askAll({ server: postilion.dns, nameOf, outstandingMax: 10 });
    },
  };
}

const oddAddress = (network: number, index: number): string => `127.${network}.250.${index + 1}`;

const mx = (name: string, exchange: string): AuthorityRecord => ({
  name,
  type: 'MX',
  ttlSeconds: 3600,
  preference: 10,
  exchange,
});

/** Most take what comes; some greylist, one knows not everybody. */
function manners(index: number): SinkOptions {
  const grey = index % 4 === 3 ? greylist(1_500) : null;
  return {
    onRecipient: (recipient, envelope) =>
      recipient.startsWith('gone-')
        ? '550 5.1.1 no such user here'
        : (grey?.(recipient, envelope) ?? null),
  };
}

/** Every sixth is told to slow down. */
function unusualRate(): NonNullable<SinkOptions['onRecipient']> {
  let count = 0;
  return () =>
    count++ % 6 === 1 ? '421 4.7.28 an unusual rate of mail from your address, slow down' : null;
}
