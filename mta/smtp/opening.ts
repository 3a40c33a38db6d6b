/**
 * The beginning of a session: greeting, EHLO or HELO, STARTTLS, until it is ready or cannot be. Replies in,
 * one step out; session.ts takes it.
 */
import { type Capabilities, NO_CAPABILITIES, readCapabilities } from './capabilities.ts';
import * as command from './commands.ts';
import type { SessionOptions } from './phases.ts';
import { formatReply, isNegative, isPermanent, isPositive, type Reply } from './reply.ts';
import type { CloseCause } from './transaction.ts';

export type OpeningPhase = 'greeting' | 'ehlo' | 'starttls';

export type OpeningStep =
  | { readonly kind: 'say'; readonly text: string; readonly awaits: 'ehlo' | 'starttls' }
  | { readonly kind: 'secure' }
  | { readonly kind: 'ready' }
  /** The host does not want the session, or policy does not want the host. */
  | { readonly kind: 'close'; readonly cause: CloseCause }
  /** A reply that cannot be right here. */
  | { readonly kind: 'fault' };

const READY: OpeningStep = { kind: 'ready' };
const FAULT: OpeningStep = { kind: 'fault' };

export class Opening {
  /** Forgotten and asked for again once TLS is up (RFC 3207 §4.2). */
  capabilities: Capabilities = NO_CAPABILITIES;
  /** TLS is up and the host has proven its name. */
  proven = false;
  readonly #options: SessionOptions;
  #secured = false;
  #saidHelo = false;

  constructor(options: SessionOptions) {
    this.#options = options;
  }

  onReply(phase: OpeningPhase, reply: Reply): OpeningStep {
    switch (phase) {
      case 'greeting':
        return reply.code === 220 ? this.#ehlo() : refused(phase, reply);
      case 'ehlo':
        return this.#onEhlo(reply);
      case 'starttls':
        return this.#onStartTls(reply);
    }
  }

  onSecured(proven: boolean): OpeningStep {
    this.#secured = true;
    this.proven = proven;
    this.capabilities = NO_CAPABILITIES;
    return this.#ehlo();
  }

  #ehlo(): OpeningStep {
    this.#saidHelo = false;
    return { kind: 'say', text: command.ehlo(this.#options.clientName), awaits: 'ehlo' };
  }

  #onEhlo(reply: Reply): OpeningStep {
    if (isPositive(reply)) {
      this.capabilities = this.#saidHelo ? NO_CAPABILITIES : readCapabilities(reply);
      return this.#secureOrReady();
    }
    if (!isPermanent(reply) || this.#saidHelo) return refused('ehlo', reply);
    this.#saidHelo = true;
    return { kind: 'say', text: command.helo(this.#options.clientName), awaits: 'ehlo' };
  }

  #secureOrReady(): OpeningStep {
    const { tls } = this.#options;
    if (this.#secured || tls === 'none') return READY;
    if (this.capabilities.startTls) {
      return { kind: 'say', text: command.STARTTLS, awaits: 'starttls' };
    }
    if (tls === 'opportunistic') return READY;
    return tlsFault('not-offered', 'the host does not offer STARTTLS');
  }

  #onStartTls(reply: Reply): OpeningStep {
    if (reply.code === 220) return { kind: 'secure' };
    if (!isNegative(reply)) return FAULT;
    if (this.#options.tls === 'opportunistic') return READY;
    return tlsFault('refused', formatReply(reply));
  }
}

const refused = (phase: 'greeting' | 'ehlo', reply: Reply): OpeningStep =>
  isNegative(reply) ? { kind: 'close', cause: { kind: 'refused', phase, reply } } : FAULT;

const tlsFault = (fault: 'not-offered' | 'refused', detail: string): OpeningStep => ({
  kind: 'close',
  cause: { kind: 'tls', fault, detail },
});
