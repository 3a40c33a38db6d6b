/** Whatever a peer says, and whenever the connection dies: every recipient is accounted for, once. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { LADDER } from '../../../mta/smtp/manners.ts';
import type { Reply } from '../../../mta/smtp/reply.ts';
import { Session } from '../../../mta/smtp/session.ts';
import { type Letter, letter } from './support.ts';

const CODES = [250, 250, 250, 250, 354, 354, 550, 450, 421, 503, 502, 220, 221, 299];
const replyArbitrary = fc.record({
  code: fc.constantFrom(...CODES),
  enhanced: fc.constantFrom(null, '2.1.0', '2.0.0'),
  lines: fc.constant(['x']),
});
/** Replies of one arrival; 'start'; or the end. */
const eventArbitrary = fc.oneof(
  { weight: 1, arbitrary: fc.array(replyArbitrary, { minLength: 1, maxLength: 4 }) },
  // What a host in good order says next.
  {
    weight: 20,
    arbitrary: fc.constantFrom('right' as const, 'refusal' as const, 'right' as const),
  },
  { weight: 8, arbitrary: fc.integer({ min: 1, max: 3 }) },
  { weight: 1, arbitrary: fc.constantFrom('quit' as const, 'lost' as const) },
);
const offers = fc.subarray(['PIPELINING', 'CHUNKING', 'LIMITS MAILMAX=2', 'SIZE 30']);

test('every recipient is told once', () => {
  let delivered = 0;
  fc.assert(
    fc.property(
      offers,
      fc.constantFrom(...LADDER),
      fc.array(eventArbitrary, { maxLength: 60, size: 'max' }),
      fc.boolean(),
      (keywords, manners, events, contentUnsent) => {
        const session = new Session<Letter>({ clientName: 'me.example', tls: 'none', manners });
        const given = new Set<Letter>();
        const told = new Set<Letter>();
        let closes = 0;
        const tell = (one: Letter): void => {
          expect(given.has(one)).toBe(true);
          expect(told.has(one)).toBe(false);
          told.add(one);
        };
        const perform = (): void => {
          for (const action of session.take()) {
            expect(closes).toBe(0);
            if (action.kind === 'outcome') {
              tell(action.transaction);
              expect(action.facts.length).toBe(action.transaction.recipients.length);
              for (const fact of action.facts) {
                expect(fact.reply === null).toBe(fact.phase === 'lost');
                expect(fact.cause === null).toBe(fact.phase !== 'lost');
                if (fact.phase === 'endOfData' && fact.reply?.code === 250) delivered += 1;
              }
            } else if (action.kind === 'close') {
              closes += 1;
              for (const one of action.untouched) tell(one);
            }
          }
        };
        const say = (...replies: readonly Reply[]): void => {
          session.onArrival(contentUnsent && replies.length === 1 ? 1 : 0);
          for (const reply of replies) session.onReply(reply);
          perform();
        };
        session.onConnected();
        say({ code: 220, enhanced: null, lines: ['hi'] });
        say({ code: 250, enhanced: null, lines: ['mx', ...keywords] });
        for (const event of events) {
          if (Array.isArray(event)) say(...event);
          else if (event === 'right' || event === 'refusal') {
            if (session.phase === null) continue;
            const right = session.phase === 'data' ? 354 : 250;
            say({ code: event === 'right' ? right : 550, enhanced: null, lines: ['x'] });
          } else if (event === 'quit') session.quit();
          else if (event === 'lost') {
            session.onLost(
              { kind: 'closed', phase: session.phase, code: null },
              contentUnsent ? 1 : 0,
            );
          } else if (session.canStart) {
            const recipients = Array.from({ length: event }, (_, at) => `r${at}@example.org`);
            const one = letter(`l${given.size}`, { recipients });
            given.add(one);
            session.start(one);
          }
          perform();
        }
        session.onLost({ kind: 'destroyed' }, 0);
        perform();
        expect(closes).toBe(1);
        expect(told).toEqual(given);
      },
    ),
    { numRuns: 3000 },
  );
  // The property is not empty: some got through.
  expect(delivered).toBeGreaterThan(100);
});
