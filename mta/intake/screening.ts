/**
 * Owns what becomes of suppressed recipients of a request: they are left out and named in the answer.
 *
 * Invariants
 * - The id of a recipient is its position in the request, whoever beside it is left out.
 * - Each one left out is told exactly once, when the client is about to learn of it.
 */
import type { Submission } from '../envelope.ts';
import type { Mailbox } from './address.ts';
import type { Message } from './handover.ts';
import type { Intake } from './intake.ts';
import type { Verdict } from './outside.ts';
import { InjectionRefused } from './problems.ts';

export interface Screened {
  /** Those that are left, in order. */
  readonly recipients: readonly Mailbox[];
  /** By position in the request. */
  readonly suppressed: ReadonlyMap<number, Verdict>;
  /** With the positions of the request in place of those among the recipients left. */
  numbered(submission: Submission): Submission;
  /** Tells of the suppressed ones. */
  tell(): void;
}

const NOBODY: ReadonlyMap<number, Verdict> = new Map();

/** @throws InjectionRefused when nobody is left; ScreenUnavailable */
export async function screen(intake: Intake, message: Message, origin: string): Promise<Screened> {
  const { suppressions } = intake;
  const { recipients, options } = message;
  const reversePath = message.reversePath?.address ?? '';
  const tenant = options.tenant ?? '';
  const question = { tenant, reversePath, recipients: recipients.map(({ address }) => address) };
  const suppressed = (await suppressions?.ask(question)) ?? NOBODY;
  const tell = (): void => {
    for (const [at, verdict] of suppressed) {
      const recipient = recipients[at]!.address;
      suppressions?.tell(verdict, { origin, reversePath, recipient, tenant });
    }
  };
  if (suppressed.size === 0) {
    return { recipients, suppressed, numbered: (submission) => submission, tell };
  }
  if (suppressed.size === recipients.length) {
    tell();
    throw allSuppressed(suppressed);
  }
  const positions = [...recipients.keys()].filter((at) => !suppressed.has(at));
  return {
    recipients: positions.map((at) => recipients[at]!),
    suppressed,
    numbered: ({ envelope, ...submission }) => ({
      ...submission,
      envelope: {
        ...envelope,
        recipients: envelope.recipients.map((each, at) => ({ ...each, index: positions[at]! })),
      },
    }),
    tell,
  };
}

export const suppressedProblem = ({ text }: Verdict, index: number | null): InjectionRefused =>
  new InjectionRefused(422, 'suppressed', `the recipient is suppressed: ${text}`, {
    field: 'to',
    index,
  });

function allSuppressed(suppressed: ReadonlyMap<number, Verdict>): InjectionRefused {
  const [first] = suppressed.values();
  if (suppressed.size === 1) return suppressedProblem(first!, 0);
  const text = `all ${suppressed.size} recipients are suppressed; the first: ${first!.text}`;
  return new InjectionRefused(422, 'suppressed', text, { field: 'to' });
}
