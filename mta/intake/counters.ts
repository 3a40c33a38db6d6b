/** Owns what intake counts. Plain numbers, raised in place; metrics reads them when it is asked. */

/** Why something was refused; a label of `postilion_mta_*`, so the list stays short and fixed. */
export const REFUSALS = [
  'syntax',
  'address',
  'relay',
  'auth',
  'recipients',
  'size',
  'line-ending',
  'line-length',
  'nul',
  'header',
  'loop',
  'busy',
  'spool',
  'signing',
  'clients',
  'suppressed',
  'rate',
  'internal',
] as const;
export type Refusal = (typeof REFUSALS)[number];

export interface IntakeCounters {
  /** Messages acknowledged, by the door they came through. */
  readonly accepted: Record<'smtp' | 'http', number>;
  /** Recipients of those. */
  recipients: number;
  /** Content of those, in octets, as it was spooled. */
  octets: number;
  /** Commands, messages and requests refused. */
  readonly refused: Record<Refusal, number>;
  /** SMTP connections taken since start. */
  connections: number;
  /** SMTP connections open now. */
  clients: number;
}

export const createCounters = (): IntakeCounters => ({
  accepted: { smtp: 0, http: 0 },
  recipients: 0,
  octets: 0,
  refused: Object.fromEntries(REFUSALS.map((reason) => [reason, 0])) as Record<Refusal, number>,
  connections: 0,
  clients: 0,
});
