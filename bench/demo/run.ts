/**
 * The demo: an internet of our own in this process, Postilion in another as a user starts it, mail from
 * one through the other, and what it cost.
 */
import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { Cleanup } from '../../test/support/cleanup.ts';
import { freePort } from '../../test/support/scratch.ts';
import { type Authority, startAuthority } from '../load/authority.ts';
import { inject, type Letter } from '../load/injector.ts';
import { createInternet, type Internet, seededFraction } from '../load/internet.ts';
import { type Postilion, startPostilion } from '../load/postilion.ts';
import { type Fate, Ledger } from './ledger.ts';
import { type Mailboxes, openMailboxes } from './mailboxes.ts';
import type { Progress } from './progress.ts';
import type { Report } from './report.ts';

export interface DemoOptions {
  readonly messages: number;
  readonly progress: Progress;
  readonly log: (line: string) => void;
}

const DOMAINS = 1_000;
const PROVIDERS = 20;
/** Its bounces come back to the newsletter's own domain, as anyone's. */
const SENDER_DOMAIN = 'newsletter.example';
const SEED = 2;
const SESSIONS = 20;
const BODY_LINES = 128; // of 78 octets: 10 KB.
const GONE_SHARE = 0.01;
const REFUSED_SHARE = 0.003;

const POLL_MS = 200;
/** Failure when nothing was settled for so long, or the whole run takes longer than that. */
const STALL_MS = 60_000;
const RUN_MS_MAX = 900_000;
const EMPTY_QUEUE_MS = 10_000;
const PROBLEMS_MAX = 20;

/**
 * The retries of hours in seconds, so that greylisting is survived while one watches; and without the
 * limits for the real providers of these names, whose retries take minutes.
 */
const MTA_SETTINGS = {
  retry: ['2s', '3s', '5s', '10s'],
  max_age: '10m',
  shaping: { community: false },
};

function* letters(count: number, internet: Internet, ledger: Ledger): Generator<Letter> {
  const fraction = seededFraction(SEED);
  const body = Buffer.from(
    `${'The post goes out at noon. '.repeat(3).slice(0, 76)}\r\n`.repeat(BODY_LINES),
  );
  for (let number = 0; number < count; number += 1) {
    const domain = internet.pick(fraction());
    const lot = fraction();
    const fate: Fate =
      lot < GONE_SHARE ? 'gone' : lot < GONE_SHARE + REFUSED_SHARE ? 'refused' : 'm';
    const to = ledger.recipient(number, fate, domain);
    const header = `From: The Newsletter <news@${SENDER_DOMAIN}>\r\nTo: ${to}\r\nSubject: Issue ${number}\r\nMessage-ID: <${number}@${SENDER_DOMAIN}>\r\n\r\n`;
    yield {
      id: String(number),
      reversePath: ledger.reversePath(number),
      recipients: [to],
      content: [Buffer.from(header), body],
    };
  }
}

/** Drawn once more: the same seed gives the same domains. */
function domainsWritten(count: number, internet: Internet): number {
  const domains = new Set<string>();
  const fraction = seededFraction(SEED);
  for (let number = 0; number < count; number += 1) {
    domains.add(internet.pick(fraction()));
    fraction();
  }
  return domains.size;
}

interface Run {
  readonly internet: Internet;
  readonly ledger: Ledger;
  readonly authority: Authority;
  readonly mailboxes: Mailboxes;
  readonly postilion: Postilion;
}

export async function runDemo(options: DemoOptions): Promise<Report> {
  const cleanup = new Cleanup();
  try {
    const run = await start(options, cleanup);
    const startedAtMs = performance.now();
    const injection = await injectAll(options, run);
    const injectedMs = performance.now() - startedAtMs;
    await settled(options, run);
    const settledMs = performance.now() - startedAtMs;
    options.progress.end();
    await emptyQueue(run);
    return await measure(options, run, {
      injectedMs,
      settledMs,
      notTaken: [...injection.failed].map(([id, reply]) => `letter ${id}: not taken: ${reply}`),
    });
  } finally {
    options.progress.end();
    await cleanup.run();
  }
}

async function start(options: DemoOptions, cleanup: Cleanup): Promise<Run> {
  const internet = createInternet({
    domains: DOMAINS,
    providers: PROVIDERS,
    network: randomInt(16, 240),
    last: SENDER_DOMAIN,
  });
  const ledger = new Ledger(options.messages, SENDER_DOMAIN);
  const authority = cleanup.stop(await startAuthority({ zones: internet.zones }));
  const port = await freePort();
  const mailboxes = await openMailboxes(internet.providers, port, ledger);
  cleanup.add(() => mailboxes.close());
  options.log(`The internet: ${DOMAINS} domains on ${PROVIDERS} providers, all on this machine.`);
  const postilion = cleanup.stop(
    await startPostilion({
      program: 'up',
      upstream: authority,
      mta: { ...MTA_SETTINGS, delivery: { port } },
    }),
  );
  options.log(`Postilion is up: SMTP at ${postilion.smtp.address}:${postilion.smtp.port}.`);
  return { internet, ledger, authority, mailboxes, postilion };
}

/** Progress is drawn from here on until all is settled. */
function draw(
  { messages, progress }: DemoOptions,
  { ledger, mailboxes }: Run,
  taken: number,
): number {
  const { delivered, bounced } = ledger.balance();
  let connections = 0;
  for (const sink of mailboxes.sinks.values()) connections += sink.connections();
  const text = `${taken} taken, ${delivered} delivered, ${bounced} bounced, ${connections} connections`;
  progress.update(delivered + bounced, messages, text);
  return delivered + bounced;
}

async function injectAll(options: DemoOptions, run: Run) {
  let taken = 0;
  const abort = new AbortController();
  const timer = setInterval(() => draw(options, run, taken), POLL_MS);
  try {
    return await Promise.race([
      inject({
        ...run.postilion.smtp,
        sessions: SESSIONS,
        letters: letters(options.messages, run.internet, run.ledger),
        onAcknowledged: () => {
          taken += 1;
        },
        signal: abort.signal,
      }),
      ended(run.postilion),
    ]);
  } finally {
    abort.abort();
    clearInterval(timer);
  }
}

async function ended(postilion: Postilion): Promise<never> {
  const { code, signal } = await postilion.process().exited;
  throw new Error(`Postilion ended (${code ?? signal}):\n${postilion.process().output()}`);
}

/** Returns when every letter is accounted for, or when it is clear that it will not be. */
async function settled(options: DemoOptions, run: Run): Promise<void> {
  const startedAtMs = performance.now();
  let lastSettled = -1;
  let lastChangeMs = startedAtMs;
  for (;;) {
    const done = draw(options, run, options.messages);
    const nowMs = performance.now();
    if (run.ledger.balance().outstanding === 0) return;
    if (done !== lastSettled) lastChangeMs = nowMs;
    lastSettled = done;
    if (nowMs - lastChangeMs > STALL_MS || nowMs - startedAtMs > RUN_MS_MAX) return;
    await Promise.race([sleep(POLL_MS), ended(run.postilion)]);
  }
}

/** The mta settles its queue just after the sink's reply; a duplicate would still come here. */
async function emptyQueue({ postilion }: Run): Promise<void> {
  const deadline = performance.now() + EMPTY_QUEUE_MS;
  while ((await waiting(postilion, 1)).length > 0 && performance.now() < deadline) {
    await sleep(POLL_MS);
  }
}

/** What still waits in the mta, and why, in its own words. */
async function waiting(postilion: Postilion, limit: number): Promise<string[]> {
  const response = await fetch(`${postilion.mtaHttp}/v1/queue?limit=${limit}`);
  const { recipients } = (await response.json()) as {
    recipients: readonly { address: string; wait: { on: string; text: string } }[];
  };
  return recipients.map(({ address, wait }) => `${address}: waits on ${wait.on}: ${wait.text}`);
}

/** Providers with so many domains are what is meant by shared sites. */
const SHARED_DOMAINS_MIN = 100;

async function measure(
  { messages }: DemoOptions,
  { internet, ledger, authority, mailboxes, postilion }: Run,
  run: { injectedMs: number; settledMs: number; notTaken: readonly string[] },
): Promise<Report> {
  const [dns, mta] = [await postilion.resolverMetrics(), await postilion.mtaMetrics()];
  const total = { connections: 0, full: 0, resumed: 0, messages: 0 };
  const shared = { connections: 0, messages: 0 };
  for (const [provider, { counts }] of mailboxes.sinks) {
    total.connections += counts.connections;
    total.full += counts.handshakesFull;
    total.resumed += counts.handshakesResumed;
    total.messages += counts.messages;
    if (provider.domains.length < SHARED_DOMAINS_MIN) continue;
    shared.connections += counts.connections;
    shared.messages += counts.messages;
  }
  const stillWaiting = await waiting(postilion, PROBLEMS_MAX);
  return {
    messages,
    domains: internet.domains.length,
    domainsWritten: domainsWritten(messages, internet),
    providers: internet.providers.length,
    balance: ledger.balance(),
    deferrals: mta.sum('postilion_mta_messages_total', { outcome: 'deferred' }),
    refusals: Object.fromEntries(mailboxes.refusals),
    waiting: stillWaiting,
    problems: [
      ...run.notTaken.slice(0, PROBLEMS_MAX),
      ...ledger.problems(PROBLEMS_MAX),
      ...ledger.strangers.slice(0, PROBLEMS_MAX).map((address) => `unexpected mail to ${address}`),
    ],
    dns: {
      askedByMta: mta.sum('postilion_mta_dns_queries_total'),
      queries: dns.sum('postilion_dns_queries_total'),
      packetsUpstream: dns.sum('postilion_dns_upstream_packets_total', { direction: 'sent' }),
      questionsAtAuthority: authority.total(),
      distinctQuestions: authority.questions.size,
    },
    connections: total,
    shared,
    injectedSeconds: run.injectedMs / 1000,
    settledSeconds: run.settledMs / 1000,
  };
}
