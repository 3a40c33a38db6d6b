import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Exchange } from '../../../mta/smtp/exchange.ts';
import type { Letter } from './support.ts';

test('replies are awaited in the order of commands, however long the line grows and is never empty', () => {
  const steps = fc.array(fc.record({ said: fc.nat(90), answered: fc.nat(90) }), { maxLength: 20 });
  fc.assert(
    fc.property(steps, (turns) => {
      const exchange = new Exchange<Letter>();
      const expected: number[] = [];
      let last = 0;
      for (const { said, answered } of turns) {
        for (let count = 0; count < said; count += 1) {
          last += 1;
          exchange.await('rcpt', null, last);
          expected.push(last);
        }
        for (let count = 0; count < answered && expected.length > 0; count += 1) {
          expect(exchange.head?.recipient).toBe(expected.shift());
          exchange.answered();
        }
        expect(exchange.awaits).toBe(expected.length);
        expect(exchange.head?.recipient).toBe(expected[0]);
      }
    }),
  );
});

test('commands decided one behind the other are one, and what is not taken can be taken back', () => {
  const exchange = new Exchange<Letter>();
  exchange.send('MAIL\r\n', 'mail', null);
  exchange.send('RCPT\r\n', 'rcpt', null, 0);
  expect(exchange.take()).toEqual([{ kind: 'command', text: 'MAIL\r\nRCPT\r\n' }]);
  exchange.send('RSET\r\n', 'rset', null);
  exchange.decide({ kind: 'ready' });
  exchange.write('BDAT 1 LAST\r\n');
  exchange.silence();
  expect(exchange.take()).toEqual([{ kind: 'ready' }]);
  expect(exchange.decided).toBe(false);
});
