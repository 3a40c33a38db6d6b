/** The report of one domain's day: its JSON, its file name, and the message that carries it (RFC 8460 §4, §5). */
import { createHash } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { asciiText, field, mailDate, part } from '../mime.ts';
import type { TlsFailure } from './outcome.ts';
import { DAY_MS, type PolicyTally } from './tally.ts';

const SECOND_MS = 1_000;
const NAME_MAX = 255;

export interface Reporter {
  readonly organization: string;
  readonly contact: string;
  /** Address that reports come from; its domain is the submitter's, and signs. */
  readonly from: string;
  /** Domain of `from`. */
  readonly submitter: string;
}

export interface TlsReport {
  readonly id: string;
  readonly domain: string;
  /** "submitter!domain!first second!last second.json.gz" (§5.1). */
  readonly fileName: string;
  /** JSON in gzip. */
  readonly content: Buffer;
}

/** @param day since the epoch, UTC */
export function makeReport(
  { organization, contact, submitter }: Reporter,
  day: number,
  domain: string,
  tallies: readonly PolicyTally[],
): TlsReport {
  const startMs = day * DAY_MS;
  const endMs = startMs + DAY_MS - SECOND_MS;
  // One for one day and domain, so that a report sent twice is known for one.
  const digest = createHash('sha256').update(`${submitter} ${day} ${domain}`).digest('hex');
  const id = `${instant(startMs).slice(0, 10)}.${digest.slice(0, 24)}@${submitter}`;
  const json = {
    'organization-name': organization,
    'date-range': { 'start-datetime': instant(startMs), 'end-datetime': instant(endMs) },
    'contact-info': contact,
    'report-id': id,
    policies: tallies.map((tally) => policyJson(domain, tally)),
  };
  return {
    id,
    domain,
    fileName: `${submitter}!${domain}!${startMs / SECOND_MS}!${endMs / SECOND_MS}.json.gz`,
    content: gzipSync(JSON.stringify(json)),
  };
}

/** "2026-11-24T00:00:00Z" */
const instant = (wallMs: number): string => new Date(wallMs).toISOString().replace('.000', '');

function policyJson(domain: string, { policy, successes, failures }: PolicyTally): object {
  const { type, strings, hosts } = policy;
  return {
    policy: {
      'policy-type': type,
      ...(strings.length === 0 ? {} : { 'policy-string': strings }),
      'policy-domain': domain,
      ...(hosts.length === 0 ? {} : { 'mx-host': hosts }),
    },
    summary: {
      'total-successful-session-count': successes,
      'total-failure-session-count': failures.reduce((sum, { sessions }) => sum + sessions, 0),
    },
    ...(failures.length === 0 ? {} : { 'failure-details': failures.map(failureJson) }),
  };
}

const failureJson = ({ failure, sessions }: PolicyTally['failures'][number]): object => ({
  'result-type': failure.type,
  ...present('sending-mta-ip', failure.localAddress),
  ...present('receiving-mx-hostname', failure.host),
  ...present('receiving-ip', failure.address),
  'failed-session-count': sessions,
  ...present('failure-reason-code', failure.reason),
});

const present = (name: string, text: TlsFailure['host']): object =>
  text === '' ? {} : { [name]: text };

export interface Letter {
  readonly to: string;
  /** Unique. */
  readonly token: string;
  /** Wall ms. */
  readonly nowMs: number;
}

/** The message with a report (§5.3), CRLF line endings. */
export function reportMail(
  report: TlsReport,
  { organization, from, submitter }: Reporter,
  { to, token, nowMs }: Letter,
): Uint8Array {
  const { id, domain, fileName, content } = report;
  const boundary = `=_${token}`;
  const name = asciiText(organization, NAME_MAX).replaceAll(/["\\]/g, '');
  const header = [
    field('Date', mailDate(nowMs)),
    field('From', `"${name}" <${from}>`),
    field('To', `<${to}>`),
    field('Subject', `Report Domain: ${domain} Submitter: ${submitter} Report-ID: <${id}>`),
    field('Message-ID', `<${token}@${submitter}>`),
    field('TLS-Report-Domain', domain),
    field('TLS-Report-Submitter', submitter),
    field('Auto-Submitted', 'auto-generated'),
    field('MIME-Version', '1.0'),
    field('Content-Type', `multipart/report; report-type="tlsrpt"; boundary="${boundary}"`),
    '\r\nThis is a report on TLS in MIME format.\r\n',
  ].join('');
  const text = [
    `This is an aggregate report on TLS from ${name}: sessions with the mail\r\n`,
    `hosts of ${domain} (RFC 8460).\r\n`,
  ].join('');
  const pieces = [
    part({
      type: 'text/plain; charset=us-ascii',
      description: 'Explanation',
      content: Buffer.from(text),
      eightBit: false,
    }),
    part({
      type: 'application/tlsrpt+gzip',
      description: 'TLS report',
      disposition: `attachment; filename="${fileName}"`,
      content,
      binary: true,
      eightBit: false,
    }),
  ];
  const delimiter = Buffer.from(`\r\n--${boundary}\r\n`);
  return Buffer.concat([
    Buffer.from(header),
    ...pieces.flatMap((octets) => [delimiter, ...octets]),
    Buffer.from(`\r\n--${boundary}--\r\n`),
  ]);
}
