/** Mail for domains of one zone, as the runs with a Postfix of its own queue send it. */
import type { Letter } from './injector.ts';

export const CUSTOMERS_ZONE = 'customers.example';
/** Of 78 octets each: 10 KB. */
const BODY_LINES = 130;

/** One recipient each, domains in turn: u7@d7.customers.example. */
export function* customerLetters(messages: number, domains: number): Generator<Letter> {
  const body = Buffer.from(`${'x'.repeat(76)}\r\n`.repeat(BODY_LINES));
  for (let number = 0; number < messages; number += 1) {
    yield {
      id: String(number),
      reversePath: 'sender@postfix.example.net',
      recipients: [`u${number}@d${number % domains}.${CUSTOMERS_ZONE}`],
      content: [Buffer.from(`Subject: ${number}\r\n\r\n`), body],
    };
  }
}
