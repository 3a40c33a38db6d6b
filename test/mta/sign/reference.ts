/** Canonicalisation as RFC 6376 §3.4 words it, with regular expressions and no thought of speed. */
import type { Form } from '../../../mta/sign/canonical.ts';

export function naiveBody(body: string, form: Form): string {
  const lines = body.split('\r\n');
  // What follows the last CRLF is a line only if it is not empty.
  if (lines.at(-1) === '') lines.pop();
  const kept =
    form === 'simple'
      ? lines
      : lines.map((line) => line.replaceAll(/[ \t]+/g, ' ').replace(/ $/, ''));
  while (kept.at(-1) === '') kept.pop();
  if (kept.length === 0) return form === 'simple' ? '\r\n' : '';
  return kept.map((line) => `${line}\r\n`).join('');
}

export function naiveField(field: string, form: Form): string {
  if (form === 'simple') return field;
  const [, name, value] = /^([^:]*):(.*)$/s.exec(field)!;
  const unfolded = value!.replaceAll('\r\n', '').replaceAll(/[ \t]+/g, ' ');
  return `${name!.toLowerCase().trimEnd()}:${unfolded.trim()}\r\n`;
}
