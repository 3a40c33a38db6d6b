/** What the mail benches ask of every mail server that takes part. */
import type { Endpoint } from '../../runtime/settings.ts';

/** The small internet that a contestant finds: see load/mail-workload.ts. */
export interface MailWorld {
  /** Answers DNS questions on port 53 of this address. */
  readonly nameserver: string;
  /** SMTP port of all MX hosts. */
  readonly remotePort: number;
  /** Address of an MX host that takes much of the mail, for what delivers to one host only. */
  readonly oneHost: string;
}

export interface ContestantOptions {
  /** Takes mail and keeps it until release(). */
  readonly held: boolean;
  /** Connections to one site at once; default: as its configuration says. */
  readonly connections?: number;
  /** Opens Node's inspector there, where it is a program of Node. */
  readonly inspectPort?: number;
}

export interface RunningContestant {
  /** Where it takes mail; its injection is what we measure. */
  readonly smtp: Endpoint;
  /** Processes whose CPU and memory count, with all below them. */
  readonly pids: readonly number[];
  /** Refuses commands that come behind a content before it has answered that. */
  readonly oneByOne?: boolean;
  /** Lets go of what was held. */
  release(): Promise<void>;
  stop(): Promise<void>;
}

export interface Contestant {
  readonly name: string;
  /** How it is set up, in a few words. */
  readonly about: string;
  /** Whether mail can be held and released, so that injection and delivery can be told apart. */
  readonly holds: boolean;
  /** The sink offers CHUNKING; without it we show what a host that has none costs. */
  readonly chunking: boolean;
  /** @returns why it cannot take part here, or null; may install what it needs */
  missing(): Promise<string | null>;
  start(world: MailWorld, options: ContestantOptions): Promise<RunningContestant>;
}
