/** What hosts keep saying, and what follows from it. */
import { describe, expect, test } from 'vitest';
import { Tuner } from '../../../mta/delivery/tuner.ts';
import { ReplyParser } from '../../../mta/smtp/reply.ts';
import type { FactPhase, RecipientFact } from '../../../mta/smtp/transaction.ts';

function fact(phase: FactPhase, text: string): RecipientFact {
  const parser = new ReplyParser();
  parser.feed(Buffer.from(`${text}\r\n`));
  return { phase, reply: parser.next(), maybeDelivered: false, local: false, cause: null };
}

const RATE = fact('endOfData', '421 4.7.28 unusual rate of mail');
const TAKEN = fact('endOfData', '250 2.0.0 ok');

describe('slow', () => {
  test('doubles with each complaint, halves with each quiet minute, and then is over', () => {
    const tuner = new Tuner('mx.example');
    const observe = (one: RecipientFact, nowMs: number) =>
      tuner.observe([one], ['a.example'], nowMs, nowMs);
    expect(tuner.waitMs(0)).toBe(0);
    expect(observe(RATE, 0)?.rule.name).toBe('rate');
    // Those already on their way complain of the same thing.
    expect(observe(RATE, 1_000)).toBeNull();
    tuner.take();
    expect(tuner.waitMs(0)).toBe(100);
    expect(observe(RATE, 2_000)).not.toBeNull();
    expect(observe(RATE, 4_000)).not.toBeNull();
    expect(tuner.slowed).toEqual({
      text: 'mx.example is slowed to a message every 400 ms by rule: rate, after 421 4.7.28 unusual rate of mail',
      sinceMs: 0,
    });
    tuner.waitMs(64_000);
    expect(tuner.slowed?.text).toContain('every 200 ms');
    tuner.waitMs(124_000);
    expect(tuner.slowed?.text).toContain('every 100 ms');
    expect(tuner.waitMs(184_000)).toBe(0);
    expect(tuner.slowed).toBeNull();
  });

  test('by the words, where the codes do not tell', () => {
    const observe = (text: string) =>
      new Tuner('mx').observe([fact('mail', text)], ['a.example'], 0, 0)?.rule.name ?? null;
    expect(observe('450 too many messages from you')).toBe('rate');
    expect(observe('421 4.7.0 [TSS04] messages temporarily deferred')).toBe('rate');
    expect(observe('450 4.2.0 greylisted')).toBeNull();
    expect(observe('550 5.1.1 too many of you')).toBeNull();
  });
});

describe('suspend', () => {
  const LISTED = fact('endOfData', '550 5.7.1 listed');
  const BROKEN = fact('rcpt', '451 4.4.1 no route to mailbox');

  test('the site, after ten refusals by policy in a row', () => {
    const tuner = new Tuner('mx');
    const observe = (one: RecipientFact) => tuner.observe([one], ['a.example'], 0, 0);
    for (let n = 0; n < 9; n += 1) expect(observe(LISTED)).toBeNull();
    expect(observe(TAKEN)).toBeNull();
    for (let n = 0; n < 9; n += 1) expect(observe(LISTED)).toBeNull();
    expect(observe(LISTED)).toMatchObject({
      rule: { name: 'listed', remedy: { kind: 'suspend-site', forMs: 1_800_000 } },
      text: 'listed, after 550 5.7.1 listed',
    });
    expect(observe(LISTED)).toBeNull();
  });

  test('a domain, for what is said of its mailboxes; others count on their own', () => {
    const tuner = new Tuner('mx');
    for (let n = 0; n < 9; n += 1) {
      expect(tuner.observe([BROKEN, BROKEN], ['a.example', 'b.example'], 0, 0)).toBeNull();
    }
    expect(tuner.observe([BROKEN], ['b.example'], 0, 0)).toMatchObject({
      domain: 'b.example',
      rule: { remedy: { kind: 'suspend-domain' } },
    });
    expect(tuner.observe([BROKEN], ['c.example'], 0, 0)).toBeNull();
  });
});
