/** Errors that cross folders of the mta. Each has a stable code; nothing is recognised by its text. */

export type SpoolTrouble =
  | 'full'
  | 'reserve'
  | 'read-only'
  | 'not-writable'
  | 'in-use'
  | 'io'
  | 'closed';

/** The spool cannot keep what it was given. Nothing of the call was stored; it may be repeated. */
export class SpoolUnavailable extends Error {
  override readonly name = 'SpoolUnavailable';
  readonly code = 'MTA_SPOOL_UNAVAILABLE';
  readonly trouble: SpoolTrouble;
  constructor(trouble: SpoolTrouble, message: string) {
    super(message);
    this.trouble = trouble;
  }
}

/** The engine of the spool has ended and will not come back within this process. */
export class SpoolLost extends Error {
  override readonly name = 'SpoolLost';
  readonly code = 'MTA_SPOOL_LOST';
}

/** A submission under this idempotency key was kept before; this one was not. */
export class SubmittedBefore extends Error {
  override readonly name = 'SubmittedBefore';
  readonly code = 'MTA_SUBMITTED_BEFORE';
  /** The message of then; it may be delivered by now. */
  readonly messageId: number;
  /** Of the request of then. */
  readonly digest: string;
  constructor(id: number, digest: string) {
    super('submitted before under the same idempotency key');
    this.messageId = id;
    this.digest = digest;
  }
}

/** Intake's own bounds are reached; the client should come back later. */
export class IntakeBusy extends Error {
  override readonly name = 'IntakeBusy';
  readonly code = 'MTA_INTAKE_BUSY';
  /** Which named bound was reached, such as `intakeBytesMax`. */
  readonly bound: string;
  constructor(bound: string, message: string) {
    super(message);
    this.bound = bound;
  }
}

/** Whoever knows which recipients are suppressed does not answer, and without it nothing is taken. */
export class ScreenUnavailable extends Error {
  override readonly name = 'ScreenUnavailable';
  readonly code = 'MTA_SCREEN_UNAVAILABLE';
  constructor() {
    super('the suppression hook does not answer');
  }
}

/** A key is meant for the message, and it could not be signed: it is not taken, or not yet. */
export class MessageNotSigned extends Error {
  override readonly name = 'MessageNotSigned';
  readonly code = 'MTA_NOT_SIGNED';
}

/** Some change of the configuration cannot be made while the mta runs, so nothing was changed. */
export class ReloadRefused extends Error {
  override readonly name = 'ReloadRefused';
  readonly code = 'MTA_RELOAD_REFUSED';
  /** Such as "mta.dns". */
  readonly keys: readonly string[];
  constructor(keys: readonly string[]) {
    super(
      `nothing was changed: ${keys.join(', ')} cannot change while the mta runs; "postilion upgrade" takes it over`,
    );
    this.keys = keys;
  }
}
