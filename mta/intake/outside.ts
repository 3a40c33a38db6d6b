/** What intake asks of others about a recipient: whether its domain is our own, and whether it gets mail at all. */

/** Domains whose mail goes no further than this host: strangers may send to them. */
export interface OwnDomains {
  /** @param domain as in Recipient.domain */
  owns(domain: string): boolean;
  /** Whether there is such an address at one of them. */
  knows(address: string): boolean;
}

/** Why a recipient gets nothing. */
export interface Verdict {
  /** Stable: "bounce", "bounce-report", "complaint", "hand", "hook". */
  readonly cause: 'bounce' | 'bounce-report' | 'complaint' | 'hand' | 'hook';
  /** One printable line. */
  readonly text: string;
}

export interface SuppressedRecipient {
  /** Submission.origin of what named it. */
  readonly origin: string;
  readonly reversePath: string;
  readonly recipient: string;
  /** '' is nobody in particular. */
  readonly tenant: string;
}

export interface Suppressions {
  /** SMTP clients are to be refused suppressed recipients. */
  readonly atSmtp: boolean;
  find(address: string, tenant: string): Verdict | null;
  /**
   * @returns verdicts by position, of those that get nothing
   * @throws ScreenUnavailable
   */
  ask(question: {
    readonly tenant: string;
    readonly reversePath: string;
    readonly recipients: readonly string[];
  }): Promise<ReadonlyMap<number, Verdict>>;
  /** One recipient gets nothing, and the client knows. */
  tell(verdict: Verdict, recipient: SuppressedRecipient): void;
}
