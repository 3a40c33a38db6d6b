/** An upstream's behaviour written as zone lines: what it knows it answers, all else it denies. */
import { TYPE, typeNumber } from '../../resolver/wire/constants.ts';
import { nameToText } from '../../resolver/wire/names.ts';
import type { RecordToWrite } from '../../resolver/wire/write.ts';
import { type Asked, type Behaviour, response } from './fake-upstream.ts';
import { wireName } from './wire.ts';

const SOA_RDATA = Uint8Array.from([0, 0, ...[1, 2, 3, 4, 60].flatMap((n) => [0, 0, 0, n])]);

/** In lower case: we ask in a random one. */
const nameOf = (message: Uint8Array, offset: number): string =>
  String(nameToText(message, offset)).toLowerCase();

/** "a.example. MX": what was asked. */
export const askedFor = ({ message, view }: Asked): string =>
  `${nameOf(message, 12)} ${Object.entries(TYPE).find(([, type]) => type === view.qtype)?.[0]}`;

function rdataOf(type: string, data: string): Uint8Array {
  if (type === 'A') return Uint8Array.from(data.split('.').map(Number));
  if (type === 'MX') return Uint8Array.of(0, 10, ...wireName(data));
  return Uint8Array.of(data.length, ...Buffer.from(data));
}

/**
 * @param lines "NAME TTL TYPE DATA", names with their final dot; MX data is the exchange alone
 * @param flags of the response, such as FLAG.AD
 */
export function zoneBehaviour(lines: readonly string[], flags = 0): Behaviour {
  const records = lines.map((line): RecordToWrite => {
    const [name, ttl, type, data] = line.split(' ') as [string, string, string, string];
    return {
      name: wireName(name),
      type: typeNumber(type)!,
      ttlSeconds: Number(ttl),
      rdata: rdataOf(type, data),
    };
  });
  return (asked) => {
    const name = nameOf(asked.message, 12);
    const same = records.filter((record) => nameOf(record.name, 0) === name);
    const answers = same.filter(({ type }) => type === asked.view.qtype);
    const soa = { name: wireName('example.'), type: TYPE.SOA, ttlSeconds: 60, rdata: SOA_RDATA };
    asked.send(
      response(asked, {
        rcode: same.length === 0 ? 3 : 0,
        flags: 0x0180 | flags,
        answers,
        authorities: answers.length === 0 ? [soa] : [],
      }),
    );
  };
}
