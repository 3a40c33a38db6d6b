/**
 * Owns what the SMTP and HTTP doors share: settings, the bound on memory, counters, and the last step
 * before the spool.
 *
 * Invariant: a door acknowledges a message only after submit() has resolved.
 */
import type { Clock } from '../../runtime/clock.ts';
import type { Log } from '../../runtime/log.ts';
import type { Random } from '../../runtime/random.ts';
import type { MtaConfig } from '../config.ts';
import type { Durability, MessageId, Submission } from '../envelope.ts';
import { IntakeBusy } from '../errors.ts';
import { type Forward, type Mailbox, toRecipient } from './address.ts';
import { Allowances } from './allowances.ts';
import { ApiKeys } from './api-keys.ts';
import { ByteBound, type Collector } from './collector.ts';
import { type ContentFault, inspect } from './content.ts';
import { createCounters, type IntakeCounters, type Refusal } from './counters.ts';
import { Credentials } from './credentials.ts';
import type { OwnDomains, Suppressions } from './outside.ts';
import { Pressure } from './pressure.ts';
import { dateField, messageIdField, receivedField, type Trace } from './received.ts';

export type IntakeSettings = Pick<
  MtaConfig,
  | 'hostname'
  | 'allow'
  | 'users'
  | 'keys'
  | 'key_rate'
  | 'tenants'
  | 'idempotency_age'
  | 'max_age'
  | 'message_bytes'
  | 'recipients'
  | 'smtp_clients'
  | 'smtp_clients_per_address'
  | 'smtp_trusted'
  | 'tls_timeout'
  | 'durability'
  | 'intake_bytes'
  | 'queue_recipients'
>;

export interface IntakeDeps {
  /** Resolves once the message is as durable as it asks; rejects with SpoolUnavailable, IntakeBusy or MessageNotSigned. */
  readonly accept: (submission: Submission) => Promise<MessageId>;
  /** Default: none; all mail is for others. */
  readonly ownDomains?: OwnDomains | null;
  /** Default: nobody is suppressed. */
  readonly suppressions?: Suppressions | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** How a message is to be treated, where the client says so. */
export type SubmissionOptions = Pick<
  Submission,
  'durability' | 'priority' | 'tenant' | 'campaign' | 'notBeforeMs' | 'extra' | 'once'
>;

/** A message whose content has been read and not yet been looked at. */
export interface Draft {
  readonly door: 'smtp' | 'http';
  readonly reversePath: Mailbox | null;
  readonly recipients: readonly Forward[];
  readonly content: Collector;
  /** SMTP: the client said SMTPUTF8. HTTP needs no leave. */
  readonly mayUseUtf8: boolean;
  readonly trace: Trace;
  /** {@link Submission.origin} */
  readonly origin: string;
  readonly options?: SubmissionOptions;
}

export class Intake {
  readonly settings: IntakeSettings;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  readonly counters: IntakeCounters = createCounters();
  credentials: Credentials;
  apiKeys: ApiKeys;
  allowances: Allowances;
  /** Content being taken, at most `intake_bytes`. */
  readonly held: ByteBound;
  readonly pressure: Pressure;
  /** Set on shutdown: nothing new is begun. */
  draining = false;
  /** Then: a client that has sent nothing yet may send one message, so that it need not come again. */
  lastOrders = false;
  readonly ownDomains: OwnDomains | null;
  readonly suppressions: Suppressions | null;
  readonly #accept: IntakeDeps['accept'];

  /** @param settings hostname is not empty: the caller has filled in the system's; see {@link onReload} */
  constructor(settings: IntakeSettings, deps: IntakeDeps) {
    this.settings = settings;
    this.clock = deps.clock;
    this.random = deps.random;
    this.log = deps.log;
    this.#accept = deps.accept;
    this.ownDomains = deps.ownDomains ?? null;
    this.suppressions = deps.suppressions ?? null;
    this.credentials = new Credentials(settings.users, deps.random);
    this.apiKeys = new ApiKeys(settings.keys);
    this.allowances = new Allowances(settings, deps.clock);
    this.held = new ByteBound('intake_bytes', settings.intake_bytes);
    this.pressure = new Pressure(this.held, settings.queue_recipients);
  }

  /** The settings have changed: what is made of them is made anew, the rest reads them when it matters. */
  onReload(): void {
    const { settings } = this;
    this.credentials = new Credentials(settings.users, this.random);
    this.apiKeys = new ApiKeys(settings.keys);
    this.allowances = new Allowances(settings, this.clock);
    this.held.max = settings.intake_bytes;
    this.pressure.queueMax = settings.queue_recipients;
  }

  /** Whether a client at this address needs no authentication. */
  allows(address: string): boolean {
    return this.settings.allow.some((network) => network.contains(address));
  }

  refuse(reason: Refusal): void {
    this.counters.refused[reason] += 1;
  }

  /**
   * Checks a draft and writes our header fields into it.
   * @returns the fault, or what to submit(); the memory stays the draft's until release()
   */
  prepare(draft: Draft): ContentFault | Submission {
    const { content, trace } = draft;
    const inspection = inspect(content.content());
    if (inspection.fault !== null) return inspection.fault;
    const receivedAtMs = this.clock.wallMs();
    const { hostname } = this.settings;
    let fields = receivedField(hostname, trace, receivedAtMs);
    if (!inspection.hasMessageId) fields += messageIdField(hostname, receivedAtMs, this.random);
    if (!inspection.hasDate) fields += dateField(receivedAtMs);
    if (!inspection.hasHeader) fields += '\r\n';
    content.prepend(fields);
    const asciiAddresses =
      (draft.reversePath?.ascii ?? true) && draft.recipients.every((mailbox) => mailbox.ascii);
    return {
      envelope: {
        reversePath: draft.reversePath?.address ?? '',
        recipients: draft.recipients.map(toRecipient),
        body: inspection.body,
        // Asked of the next hop only where something needs it (RFC 6531 §3.2), so that an all-ASCII
        // message from a client that always says SMTPUTF8 still reaches everyone.
        smtpUtf8: draft.mayUseUtf8 && !(asciiAddresses && inspection.headerAscii),
      },
      content: content.content(),
      headroom: content.start,
      receivedAtMs,
      origin: draft.origin,
      ...draft.options,
      durability: this.durabilityOf(draft.options?.durability),
    };
  }

  /** What a message gets: what was asked for, or more where the settings do not allow less. */
  durabilityOf(asked: Durability | undefined): Durability {
    const { durability } = this.settings;
    if (durability === 'memory') return asked ?? 'memory';
    return durability === 'asked' ? (asked ?? 'fsync') : 'fsync';
  }

  /** @returns the id of the message, as durable as it asks by then; rejects as {@link IntakeDeps.accept} does */
  async submit(submission: Submission, door: Draft['door']): Promise<MessageId> {
    const bound = this.pressure.reached();
    if (bound !== null) throw new IntakeBusy(bound, 'too much mail waits');
    const pauseMs = this.pressure.pauseMs();
    if (pauseMs > 0) await new Promise<void>((resolve) => this.clock.after(pauseMs, resolve));
    const id = await this.#accept(submission);
    this.pressure.joined(submission.envelope.recipients.length);
    this.counters.accepted[door] += 1;
    this.counters.recipients += submission.envelope.recipients.length;
    this.counters.octets += submission.content.length;
    return id;
  }
}
