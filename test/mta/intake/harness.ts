/** An intake over an accept() that the test commands, and a client that speaks raw octets. */
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { MessageId, Submission } from '../../../mta/envelope.ts';
import { Intake, type IntakeSettings } from '../../../mta/intake/intake.ts';
import { SmtpDoor } from '../../../mta/intake/smtp.ts';
import { type Clock, systemClock } from '../../../runtime/clock.ts';
import { type Log, silentLog } from '../../../runtime/log.ts';
import { cryptoRandom } from '../../../runtime/random.ts';
import { parseNetwork } from '../../../runtime/settings.ts';
import { scratchFolder } from '../../support/scratch.ts';

export const LOOPBACK = [parseNetwork('127.0.0.0/8')!, parseNetwork('::1')!];
export const NOWHERE = [parseNetwork('192.0.2.0/24')!];
/** For expect.poll: a busy machine is not a failure. */
export const PATIENCE = { timeout: 15_000, interval: 10 };
export const FIRST_ID = 1_000_000_000_000;

export const SETTINGS: IntakeSettings = {
  hostname: 'mta.example.net',
  allow: LOOPBACK,
  users: {},
  keys: {},
  key_rate: 0,
  tenants: {},
  idempotency_age: 86_400_000,
  max_age: 432_000_000,
  smtp_clients_per_address: 50,
  smtp_trusted: [],
  tls_timeout: 20_000,
  queue_recipients: 10_000,
  message_bytes: 1_048_576,
  recipients: 5,
  smtp_clients: 50,
  durability: 'fsync',
  intake_bytes: 16_777_216,
};

export interface Rig {
  readonly intake: Intake;
  readonly door: SmtpDoor;
  readonly accepted: Submission[];
  /** Replaces what accept() does after it has noted the submission; default: resolves with the next id. */
  onAccept: (submission: Submission) => Promise<MessageId>;
}

export function rig(
  settings: Partial<IntakeSettings> = {},
  options: {
    readonly clock?: Clock;
    readonly secureContext?: SecureContext;
    readonly log?: Log;
  } = {},
): Rig {
  const accepted: Submission[] = [];
  const made: { rig?: Rig } = {};
  const intake = new Intake(
    { ...SETTINGS, ...settings },
    {
      accept: async (submission) => {
        const id = await made.rig!.onAccept(submission);
        accepted.push(submission);
        return id;
      },
      clock: options.clock ?? systemClock(),
      random: cryptoRandom(),
      log: options.log ?? silentLog,
    },
  );
  const door = new SmtpDoor(intake, options.secureContext ?? null);
  made.rig = { intake, door, accepted, onAccept: async () => FIRST_ID + accepted.length };
  return made.rig;
}

/** Listens on a port of the system's choice. */
export async function listen(door: SmtpDoor): Promise<number> {
  const [endpoint] = await door.listen([{ address: '127.0.0.1', port: 0 }]);
  return endpoint!.port;
}

export const textOf = (submission: Submission): string =>
  Buffer.from(submission.content).toString('latin1');

/** What the client sent, without the fields that intake put in front. */
export const sentPart = (submission: Submission, firstLine: string): string => {
  const text = textOf(submission);
  return text.slice(text.indexOf(firstLine));
};

/** A connection that says exactly what it is told to. */
export class RawClient {
  readonly socket: Socket;
  #received = '';
  #ended = false;
  #wake: (() => void) | null = null;

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true });
    this.socket.setEncoding('latin1');
    this.socket.on('data', (text: string) => {
      this.#received += text;
      this.#wake?.();
    });
    this.socket.on('error', () => undefined);
    this.socket.on('close', () => {
      this.#ended = true;
      this.#wake?.();
    });
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  /** One octet per write, each on its way before the next. */
  async sendByOctet(text: string): Promise<void> {
    for (const octet of text) {
      await new Promise<void>((resolve) => this.socket.write(octet, 'latin1', () => resolve()));
    }
  }

  /** Resolves with everything received so far once the pattern is in it. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#received)) {
      if (this.#ended)
        throw new Error(`closed before ${pattern}: ${JSON.stringify(this.#received)}`);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#received;
  }

  /** Sends, and resolves with what came since. */
  async exchange(text: string, pattern: RegExp): Promise<string> {
    this.#received = '';
    this.send(text);
    return this.until(pattern);
  }

  /** Resolves with everything once the server has closed. */
  async end(): Promise<string> {
    while (!this.#ended) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.#received;
  }

  destroy(): void {
    this.socket.destroy();
  }
}

/** A certificate for localhost that no one else trusts. */
export async function testCertificate(): Promise<{ context: SecureContext; certificate: string }> {
  const folder = await scratchFolder('intake-tls');
  try {
    const keyFile = join(folder.path, 'key.pem');
    const certificateFile = join(folder.path, 'certificate.pem');
    execFileSync(
      'openssl',
      ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
        .concat(['-days', '2', '-subj', '/CN=localhost', '-keyout', keyFile])
        .concat(['-out', certificateFile]),
      { stdio: 'ignore' },
    );
    const certificate = readFileSync(certificateFile, 'utf8');
    const context = createSecureContext({ cert: certificate, key: readFileSync(keyFile) });
    return { context, certificate };
  } finally {
    await folder.remove();
  }
}
