/**
 * Owns one SMTP connection: octets in, lines and content to the dialog, replies out, TLS in between.
 *
 * Invariants
 * - Replies leave in the order of their commands, and those to one chunk leave in one write.
 * - While a message settles or TLS is being set up nothing is read; at most one chunk waits.
 * - 250 to a message is written only after submit() has resolved.
 */
import type { Socket } from 'node:net';
import { type SecureContext, TLSSocket } from 'node:tls';
import { formatMessageId, type MessageId, type Submission } from '../envelope.ts';
import { COMMAND_OCTETS_MAX } from './command.ts';
import { DataReader } from './data-reader.ts';
import { Dialog } from './dialog.ts';
import type { Intake } from './intake.ts';
import {
  busyReply,
  type Refused,
  refusedAcceptance,
  refusedContent,
  type Step,
} from './replies.ts';

/** RFC 5321 §4.5.3.2.7 asks a server to wait at least five minutes for the next command. */
export const IDLE_TIMEOUT_MS = 300_000;
/** From MAIL to the final dot, however slowly it drips: a slot is not held for ever. */
export const TRANSACTION_TIMEOUT_MS = 1_800_000;
/** After our last reply the client has so long to close its side. */
export const CLOSE_TIMEOUT_MS = 5_000;

const LF = 0x0a;
const CR = 0x0d;
const NOTHING = Buffer.alloc(0);

type Phase =
  | 'command'
  | 'content'
  /** accept() has the message. */
  | 'settling'
  /** A password is being looked at. */
  | 'verifying'
  /** TLS handshake. */
  | 'securing'
  /** We have said our last. */
  | 'closing';

export interface SessionHost {
  readonly intake: Intake;
  /** null offers no STARTTLS. */
  readonly secureContext: SecureContext | null;
  /** The connection is gone; called once. */
  onSessionEnd(session: Session): void;
}

export class Session {
  readonly #host: SessionHost;
  readonly #dialog: Dialog;
  #socket: Socket;
  #phase: Phase = 'command';
  #reader: DataReader | null = null;
  /** Octets read and not yet used: from `#at` on. */
  #input: Buffer = NOTHING;
  #at = 0;
  #output = '';
  /** The client has closed its side. */
  #peerEnded = false;
  #activeAtMs: number;
  #transactionAtMs: number | null = null;

  constructor(host: SessionHost, socket: Socket) {
    this.#host = host;
    this.#socket = socket;
    this.#activeAtMs = host.intake.clock.monotonicMs();
    this.#dialog = new Dialog(host.intake, socket.remoteAddress ?? '', host.secureContext !== null);
    // The listener for errors stays on through TLS: an error without one would end the process.
    socket.on('error', this.#onError);
    socket.once('close', this.#onClose);
    this.#listenTo(socket);
    this.#take(this.#dialog.greet());
    this.#flush();
  }

  /** Closes at once when no transaction is under way, otherwise after it. */
  drain(): void {
    if (this.#phase === 'command' && !this.#dialog.inTransaction && !this.#dialog.mayBegin)
      this.#sendAway('421 4.3.2 shutting down');
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Called every few seconds; sends away whom we have waited for long enough. */
  checkTimeouts(nowMs: number): void {
    const idleMs = nowMs - this.#activeAtMs;
    if (this.#phase === 'settling' || this.#phase === 'verifying') return;
    if (this.#phase === 'closing') {
      if (idleMs >= CLOSE_TIMEOUT_MS) this.#socket.destroy();
    } else if (this.#phase === 'securing') {
      if (idleMs >= this.#host.intake.settings.tls_timeout) this.#socket.destroy();
    } else if (idleMs >= IDLE_TIMEOUT_MS) this.#sendAway('421 4.4.2 waited too long for you');
    else if (
      this.#transactionAtMs !== null &&
      nowMs - this.#transactionAtMs >= TRANSACTION_TIMEOUT_MS
    ) {
      this.#sendAway('421 4.4.2 transaction took too long');
    }
  }

  #listenTo(socket: Socket): void {
    socket.on('data', this.#onData);
    socket.once('end', this.#onEnd);
    socket.on('drain', this.#onDrain);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#phase === 'closing') return;
    this.#activeAtMs = this.#host.intake.clock.monotonicMs();
    this.#input =
      this.#at < this.#input.length
        ? Buffer.concat([this.#input.subarray(this.#at), chunk])
        : chunk;
    this.#at = 0;
    if (this.#phase !== 'command' && this.#phase !== 'content') this.#socket.pause();
    else this.#work();
  };

  readonly #onEnd = (): void => {
    this.#peerEnded = true;
    if (this.#phase !== 'settling' && this.#phase !== 'verifying') this.#close();
  };

  /** A client that does not read its replies is not read from either. */
  readonly #onDrain = (): void => {
    this.#socket.resume();
  };

  readonly #onError = (error: Error): void => {
    this.#host.intake.log.debug(
      { client: this.#socket.remoteAddress, error: error.message },
      'smtp connection failed',
    );
  };

  readonly #onClose = (): void => {
    // A message that settles keeps its memory until it has: the spool still reads it.
    if (this.#phase !== 'settling') this.#dialog.reset();
    this.#phase = 'closing';
    this.#host.onSessionEnd(this);
  };

  #work(): void {
    while (this.#at < this.#input.length) {
      if (this.#phase === 'command') {
        if (!this.#readCommand()) break;
      } else if (this.#phase === 'content') this.#readContent();
      else break;
    }
    if (this.#at === this.#input.length) {
      this.#input = NOTHING;
      this.#at = 0;
    }
    this.#flush();
  }

  /** @returns false when the line is not complete */
  #readCommand(): boolean {
    const lf = this.#input.indexOf(LF, this.#at);
    const octets = (lf === -1 ? this.#input.length : lf) - this.#at;
    if (octets > COMMAND_OCTETS_MAX) {
      this.#host.intake.refuse('syntax');
      this.#sendAway(`500 5.5.2 command longer than ${COMMAND_OCTETS_MAX} octets`);
      return false;
    }
    if (lf === -1) return false;
    if (lf === this.#at || this.#input[lf - 1] !== CR) {
      // What one server takes for the end of a command another does not: no basis for going on.
      this.#host.intake.refuse('line-ending');
      this.#sendAway('500 5.5.2 bare LF: commands end in CRLF (RFC 5321 section 2.3.8)');
      return false;
    }
    const line = this.#input.toString('utf8', this.#at, lf - 1);
    this.#at = lf + 1;
    this.#take(this.#dialog.onLine(line));
    return true;
  }

  #take(step: Step): void {
    if (step.reply !== '') this.#output += `${step.reply}\r\n`;
    if (!this.#dialog.inTransaction) this.#transactionAtMs = null;
    else this.#transactionAtMs ??= this.#activeAtMs;
    if (step.next === 'content') {
      this.#reader = new DataReader(this.#dialog.content, this.#host.intake.settings.message_bytes);
      this.#phase = 'content';
    } else if (step.next === 'close') this.#close();
    else if (step.next === 'secure') this.#secure();
    else if (step.next === 'verify') void this.#verify();
  }

  #readContent(): void {
    const reader = this.#reader!;
    const past = reader.feed(this.#input, this.#at);
    this.#at = past === -1 ? this.#input.length : past;
    if (past === -1) return;
    this.#reader = null;
    const { fault } = reader;
    if (fault !== null) {
      this.#refuseMessage(
        fault === 'busy' ? busyReply(this.#host.intake.held.name) : refusedContent(fault),
      );
      if (reader.ambiguous) this.#close();
      return;
    }
    const prepared = this.#host.intake.prepare(this.#dialog.draft());
    if (typeof prepared === 'string') this.#refuseMessage(refusedContent(prepared));
    else this.#settle(prepared);
  }

  #settle(submission: Submission): void {
    this.#phase = 'settling';
    this.#host.intake.submit(submission, 'smtp').then(this.#onAccepted, this.#onNotAccepted);
  }

  readonly #onAccepted = (id: MessageId): void => {
    this.#dialog.onAccepted();
    this.#onSettled(`250 2.0.0 OK queued as ${formatMessageId(id)}`);
  };

  readonly #onNotAccepted = (error: unknown): void => {
    const refused = refusedAcceptance(error);
    if (refused.reason === 'internal')
      this.#host.intake.log.error({ error }, 'message not accepted');
    this.#host.intake.refuse(refused.reason);
    this.#onSettled(refused.reply);
  };

  #onSettled(reply: string): void {
    this.#endTransaction(reply);
    if ((this.#phase as Phase) === 'closing') return; // The client has left meanwhile.
    this.#goOn();
  }

  /** A password is looked at elsewhere, and takes its time. */
  async #verify(): Promise<void> {
    this.#phase = 'verifying';
    const step = await this.#dialog.verify();
    if ((this.#phase as Phase) === 'closing') return; // The client has left meanwhile.
    this.#take(step);
    if ((this.#phase as Phase) !== 'closing') this.#goOn();
  }

  /** Reads on after a wait. */
  #goOn(): void {
    this.#activeAtMs = this.#host.intake.clock.monotonicMs();
    this.#phase = 'command';
    if (this.#host.intake.draining) this.#sendAway('421 4.3.2 shutting down');
    else {
      this.#work();
      if (this.#peerEnded) this.#close();
      else if (this.#socket.isPaused() && !this.#socket.writableNeedDrain) this.#socket.resume();
    }
  }

  #refuseMessage(refused: Refused): void {
    this.#host.intake.refuse(refused.reason);
    this.#phase = 'command';
    this.#endTransaction(refused.reply);
    if (this.#host.intake.draining) this.#sendAway('421 4.3.2 shutting down');
  }

  #endTransaction(reply: string): void {
    this.#dialog.reset();
    this.#dialog.hasSent = true;
    this.#transactionAtMs = null;
    this.#output += `${reply}\r\n`;
  }

  /** Hands the connection to TLS. What the client sent in the clear behind STARTTLS must not be read as if it came over TLS. */
  #secure(): void {
    if (this.#at < this.#input.length) {
      this.#output = '';
      this.#sendAway('503 5.5.1 nothing may follow STARTTLS before TLS is up');
      return;
    }
    this.#flush();
    this.#phase = 'securing';
    const plain = this.#socket;
    plain.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain);
    const secured = new TLSSocket(plain, {
      isServer: true,
      secureContext: this.#host.secureContext!,
    });
    secured.on('error', this.#onError);
    secured.once('secure', () => {
      if (this.#phase !== 'securing') return;
      this.#activeAtMs = this.#host.intake.clock.monotonicMs();
      this.#dialog.onSecure();
      this.#phase = 'command';
    });
    this.#socket = secured;
    this.#listenTo(secured);
  }

  #sendAway(reply: string): void {
    this.#output += `${reply}\r\n`;
    this.#close();
  }

  /** Says what is left to say and closes our side; checkTimeouts() does the rest if the client does not. */
  #close(): void {
    if (this.#phase === 'closing') return;
    this.#phase = 'closing';
    this.#activeAtMs = this.#host.intake.clock.monotonicMs();
    this.#dialog.reset();
    this.#reader = null;
    this.#flush();
    this.#socket.end();
    // Read on, and drop it: a reset would take our last reply with it.
    this.#socket.resume();
  }

  #flush(): void {
    if (this.#output === '') return;
    const output = this.#output;
    this.#output = '';
    if (this.#socket.writable && !this.#socket.write(output, 'latin1')) this.#socket.pause();
  }
}
