/** Messages for tests of the resolver: names, sample records, and arbitrary names for properties. */
import * as fc from 'fast-check';
import { NAME_OCTETS_MAX } from '../../resolver/wire/constants.ts';
import { parseQuery, QueryVerdict, QueryView } from '../../resolver/wire/message.ts';
import { textToName } from '../../resolver/wire/names.ts';
import { type QueryToWrite, writeQuery } from '../../resolver/wire/write.ts';

/** So many times the same octet. */
export const filled = (count: number, octet: number): number[] =>
  Array.from({ length: count }, () => octet);

/** @returns the name on the wire; the text must be one */
export function wireName(text: string): Uint8Array {
  const name = textToName(text);
  if (typeof name === 'number') throw new Error(`not a name: ${text}`);
  return name;
}

/** Names on the wire of any octets, up to the longest there may be. */
export const anyName: fc.Arbitrary<Uint8Array> = fc
  .array(fc.uint8Array({ minLength: 1, maxLength: 63 }), { maxLength: 12 })
  .map((labels) => {
    const octets: number[] = [];
    for (const label of labels) {
      if (octets.length + label.length + 2 > NAME_OCTETS_MAX) break;
      octets.push(label.length, ...label);
    }
    return Uint8Array.from([...octets, 0]);
  });

/** A name of plain labels, as text without the final dot. */
export const plainNameText: fc.Arbitrary<string> = fc
  .array(fc.stringMatching(/^[a-zA-Z0-9_-]{1,20}$/), { minLength: 1, maxLength: 6 })
  .map((labels) => labels.join('.'));

/** A query as a client sends it, and its view. */
export function ask(
  name: string,
  type: number,
  more: Partial<QueryToWrite> = {},
): { query: Uint8Array; view: QueryView } {
  const query = writeQuery({ id: 0x4242, name: wireName(name), type, ...more });
  const view = new QueryView();
  if (parseQuery(query, view) !== QueryVerdict.ok) throw new Error(`not a query: ${name}`);
  return { query, view };
}
