/**
 * One screen of `top`, made of a frame of the dashboard; pure.
 *
 * Invariants: no line is wider than the terminal, and there are no more lines than it has rows; text of
 * strangers cannot move the cursor.
 */
import type { Frame } from '../dashboard/hub.ts';
import type { Level } from '../dashboard/snapshot.ts';
import { hitShare } from '../dashboard/verdicts.ts';
import { ageText, countText, plural, shareText } from '../dashboard/words.ts';
import { printable } from './print.ts';

export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
  readonly colour: boolean;
}

const COLUMNS_MIN = 20;
/** Below this many columns, tables leave their lesser columns out. */
const NARROW = 64;
const TABLE_ROWS_MIN = 3;
const BAR_MAX = 30;

type Paint = (text: string, colour: keyof typeof SGR) => string;

const SGR = { bold: 1, dim: 2, red: 31, green: 32, yellow: 33 } as const;
const LEVELS = {
  good: ['✓', 'green'],
  warn: ['!', 'yellow'],
  bad: ['✕', 'red'],
  none: ['–', 'dim'],
} as const satisfies Readonly<Record<Level, readonly [string, keyof typeof SGR]>>;

/** @returns lines without line ends */
export function topScreen(frame: Frame, size: ScreenSize): string[] {
  const width = Math.max(COLUMNS_MIN, size.columns);
  const paint: Paint = size.colour
    ? (text, colour) => `\u001b[${SGR[colour]}m${text}\u001b[0m`
    : (text) => text;
  const lines = [
    paint(clip(headText(frame), width), 'bold'),
    ...verdictLines(frame, width, paint),
    '',
    ...mailLines(frame, width),
    ...dnsLines(frame, width),
  ];
  const tables = tablesOf(frame, width < NARROW);
  const rowsLeft = size.rows - lines.length;
  const each = Math.max(TABLE_ROWS_MIN, Math.floor(rowsLeft / Math.max(1, tables.length)) - 2);
  for (const { head, rows } of tables) {
    const [title, ...body] = aligned([head, ...rows.slice(0, each)], width);
    lines.push('', paint(title!, 'dim'), ...body);
  }
  return lines.slice(0, size.rows);
}

/** Cut to the width, with a sign that it was. */
function clip(text: string, width: number): string {
  const characters = [...text];
  return characters.length <= width ? text : `${characters.slice(0, width - 1).join('')}…`;
}

function headText({ tick, state }: Frame): string {
  const part = state.mail ?? state.dns;
  const names = [state.mail && 'mta', state.dns && 'resolver'].filter(Boolean).join(' + ');
  const up = part === null ? '' : `  up ${ageText(tick.atMs - part.startedAtMs)}`;
  return `Postilion ${part?.version ?? ''}  ${printable(state.hostname)}  ${names}${up}`;
}

/** On a narrow terminal a sentence takes several lines, two at most. */
function verdictLines({ tick: { verdicts } }: Frame, width: number, paint: Paint): string[] {
  return [verdicts.mail, verdicts.dns, verdicts.wrong].flatMap(({ level, text }) => {
    const [mark, colour] = LEVELS[level];
    const [first = '', ...rest] = wrapped(printable(text), width - 2);
    const second = rest.length === 0 ? [] : [`  ${clip(rest.join(' '), width - 2)}`];
    return [`${paint(mark, colour)} ${first}`, ...second];
  });
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  return [...lines, line].map((one) => clip(one, width));
}

const rate = (value: number | null | undefined): string =>
  value === null || value === undefined ? '–' : countText(value);

/** Label and facts, as many as fit; the most important first. */
function factLine(label: string, facts: readonly string[], width: number): string {
  let line = label.padEnd(6);
  for (const fact of facts) {
    const longer = `${line}${line.length > 6 ? '   ' : ''}${fact}`;
    if (longer.length > width && line.length > 6) break;
    line = longer;
  }
  return clip(line, width);
}

function mailLines({ tick, state: { mail } }: Frame, width: number): string[] {
  if (mail === null) return [];
  const lately = tick.mail?.lately ?? null;
  const made = (lately?.full ?? 0) + (lately?.resumed ?? 0) + (lately?.clear ?? 0);
  const causes = Object.entries(lately?.causes ?? {})
    .sort((one, other) => other[1] - one[1])
    .map(([code, perSecond]) => `${code} ${countText(perSecond)}/s`);
  const facts = [
    `${rate(lately?.delivered)}/s delivered`,
    `${countText(mail.queued)} waiting`,
    `${countText(mail.leased)} in delivery`,
    `${rate(lately?.deferred)}/s put off`,
    `${rate(lately?.bounced)}/s bounced`,
  ];
  const links = [
    plural(mail.connections, 'connection'),
    `${countText(made)}/s made`,
    ...(causes.length === 0 ? [] : [`put off: ${causes.join(', ')}`]),
  ];
  return [factLine('Mail', facts, width), factLine('', links, width)];
}

function dnsLines({ tick, state: { dns } }: Frame, width: number): string[] {
  if (dns === null) return [];
  const lately = tick.dns?.lately ?? null;
  if (lately === null) return [factLine('DNS', ['measuring'], width)];
  const { lookups, sent, budget, answers } = lately;
  const share = hitShare(lately);
  const limit = budget === null ? '' : ` of ${countText(budget)}`;
  const facts = [
    `${rate(lookups)}/s lookups`,
    ...(share === null ? [] : [`${shareText(share)} from memory`]),
    `${rate(sent)}${limit} packets/s upstream`,
    `${countText(Math.max(0, (lookups ?? 0) - (sent ?? 0)))}/s avoided`,
  ];
  const total = Object.values(answers).reduce<number>((sum, one) => sum + (one ?? 0), 0);
  const shares = Object.entries(answers).filter(([, one]) => (one ?? 0) > 0);
  const sources = shares
    .sort((one, other) => other[1]! - one[1]!)
    .map(([source, one]) => `${source} ${shareText(one! / total)}`);
  const bar = share === null ? [] : [hitBar(share, Math.min(BAR_MAX, width - 10))];
  return [factLine('DNS', facts, width), factLine('', [...bar, ...sources], width)];
}

/** Filled as far as answers cost no packet upstream. */
function hitBar(share: number, width: number): string {
  const filled = Math.round(share * width);
  return '█'.repeat(filled) + '░'.repeat(width - filled);
}

interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

function tablesOf({ tick, state: { mail, dns } }: Frame, isNarrow: boolean): Table[] {
  const tables: Table[] = [];
  const keep = (cells: readonly string[], lesser: readonly number[]): readonly string[] =>
    isNarrow ? cells.filter((_cell, at) => !lesser.includes(at)) : cells;
  if (mail !== null) {
    const loads = new Map(mail.loads.map((load) => [load.alias, load]));
    const sites = new Set([...loads.keys(), ...mail.sites.map(({ alias }) => alias)]);
    const status = new Map(mail.sites.map((site) => [site.alias, site]));
    tables.push({
      head: keep(['SITE', '>WAIT', '>OLDEST', '>CONN', 'STATE'], [2, 3]),
      rows: [...sites].map((alias) => {
        const load = loads.get(alias);
        const site = status.get(alias);
        const waiting = Math.max(load?.recipients ?? 0, site?.buffered ?? 0);
        const oldest = load === undefined ? '–' : ageText(load.oldestSeconds * 1000);
        const state = site?.hold?.text ?? (site === undefined ? 'at rest' : 'at work');
        const cells = [alias, countText(waiting), oldest, `${site?.connections ?? 0}`, state];
        return keep(cells, [2, 3]);
      }),
    });
  }
  if (dns !== null) {
    tables.push({
      head: keep(['DOMAIN', '>LOOKUPS', '>PACKETS', '>FAILED', '>STALE'], [2, 4]),
      rows: dns.busiest.map(({ domain, lookups, packets, failures, stale }) =>
        keep([domain, ...[lookups, packets, failures, stale].map(countText)], [2, 4]),
      ),
    });
  }
  if (mail !== null && mail.waiting.length > 0) {
    tables.push({
      head: keep(['WAITS', '>AGE', '>TRIES', 'RECIPIENT', 'WHY'], [2, 3]),
      rows: mail.waiting.map(({ id, receivedAtMs, attempts, address, wait }) =>
        keep([id, ageText(tick.atMs - receivedAtMs), `${attempts}`, address, wait.text], [2, 3]),
      ),
    });
  }
  return tables;
}

/** Of all columns but the last. */
const CELL_MAX = 34;

/** Columns two spaces apart; a head that begins with ">" has its column on the right. */
function aligned([head = [], ...rows]: readonly (readonly string[])[], width: number): string[] {
  const isRight = head.map((cell) => cell.startsWith('>'));
  const last = head.length - 1;
  const cells = [head.map((cell) => cell.replace(/^>/, '')), ...rows].map((row) =>
    row.map((cell, at) => (at === last ? printable(cell) : clip(printable(cell), CELL_MAX))),
  );
  const widths = head.map((_cell, at) => Math.max(...cells.map((row) => row[at]!.length)));
  return cells.map((row) => {
    const padded = row.map((cell, at) => {
      if (isRight[at] === true) return cell.padStart(widths[at]!);
      return at === last ? cell : cell.padEnd(widths[at]!);
    });
    return clip(padded.join('  ').trimEnd(), width);
  });
}
