/** The six charts: where answers come from, what that spares, and how mail goes. */
import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { Chart } from './chart.js';
import { count, percent } from './format.js';
import { smooth } from './smooth.js';

/** Those that cost no packet upstream, the cheapest first. */
export const FROM_MEMORY = ['hot', 'cache', 'coalesced', 'local', 'stale'];
const SOURCES = [...FROM_MEMORY, 'upstream', 'refused', 'failure'];

const CAUSE_COLOURS = ['c-1', 'c-2', 'c-3', 'c-4', 'c-5', 'c-6', 'c-7', 'c-8'];

/** From this share of the budget on it is drawn. */
const BUDGET_SHARE_DRAWN = 0.2;

const last = (column) => column?.[column.length - 1] ?? null;
const sum = (values) => values.reduce((all, value) => all + (value ?? 0), 0);

/** @returns 0 to 1, or null when nobody asked */
export function hitShare(answers) {
  const all = sum(SOURCES.map((source) => answers[source]));
  return all === 0 ? null : sum(FROM_MEMORY.map((source) => answers[source])) / all;
}

function Sources({ dns, lately }) {
  const { atMs, answers } = dns;
  const totals = atMs.map((_at, index) => sum(SOURCES.map((source) => answers[source]?.[index])));
  const seen = SOURCES.filter(
    (source) =>
      ['hot', 'cache', 'upstream'].includes(source) || answers[source]?.some((rate) => rate > 0),
  );
  const columns = seen.map((source) =>
    totals.map((total, index) => (total === 0 ? null : (answers[source]?.[index] ?? 0) / total)),
  );
  const share = lately === null ? null : hitShare(lately.answers);
  const summary =
    share === null
      ? 'Nobody asks just now.'
      : `${percent(share)} of answers cost no packet upstream.`;
  const series = seen.map((source) => ({ key: source, label: source, colour: `s-${source}` }));
  return html`<${Chart} id="sources" title="Where answers come from" unit="share" atMs=${atMs}
    series=${series} columns=${columns} stacked top=${1} format=${percent} summary=${summary} />`;
}

function Packets({ dns, mail, lately, latelyMail }) {
  const { atMs, columns } = dns;
  const asked = new Map(mail.atMs.map((at, index) => [at, mail.columns.asked[index]]));
  const hasMta = mail.atMs.length > 0;
  const limit = last(columns.budget);
  const highest = Math.max(0, ...columns.sent.map((rate) => rate ?? 0));
  // A limit far above would flatten everything else; then words do.
  const hasBudget = limit !== null && highest > limit * BUDGET_SHARE_DRAWN;
  const series = [
    ...(hasMta ? [{ key: 'asked', label: 'asked by the mta', colour: 'c-4' }] : []),
    { key: 'lookups', label: 'asked by all', colour: 'c-1' },
    { key: 'sent', label: 'sent upstream', colour: 's-upstream', fill: true },
    ...(hasBudget ? [{ key: 'budget', label: 'budget', colour: 'bad', dash: true }] : []),
  ];
  const drawn = series.map(({ key }) =>
    key === 'asked' ? atMs.map((at) => asked.get(at) ?? null) : (columns[key] ?? []),
  );
  const lookups = lately?.lookups ?? 0;
  const sent = lately?.sent ?? 0;
  const spared = Math.max(0, lookups - sent);
  const parts = [`${count(sent)} packets a second go upstream for ${count(lookups)} questions`];
  if (limit !== null)
    parts.push(`that is ${percent(sent / limit)} of the budget of ${count(limit)}`);
  if (lookups > 0) parts.push(`${count(spared)} are avoided (${percent(spared / lookups)})`);
  if (latelyMail?.asked > 0) parts.push(`the mta asks ${count(latelyMail.asked)}`);
  return html`<${Chart} id="packets" title="Packets upstream" unit="per second" atMs=${atMs}
    series=${series} columns=${drawn} summary=${`${parts.join('; ')}.`} />`;
}

function Rates({ mail, lately }) {
  const { atMs, columns } = mail;
  const series = [
    { key: 'received', label: 'received', colour: 'c-4' },
    { key: 'delivered', label: 'delivered', colour: 'good', fill: true },
    { key: 'deferred', label: 'put off', colour: 'c-3' },
    { key: 'bounced', label: 'bounced', colour: 'bad' },
  ];
  const summary =
    lately === null
      ? 'Measuring…'
      : `${count(lately.delivered)} delivered, ${count(lately.deferred)} put off and ${count(lately.bounced)} bounced a second.`;
  return html`<${Chart} id="rates" title="Mail" unit="recipients per second" atMs=${atMs}
    series=${series} columns=${series.map(({ key }) => columns[key] ?? [])} summary=${summary} />`;
}

function Deferrals({ mail, lately }) {
  const { atMs, causes } = mail;
  const codes = Object.keys(causes).filter((code) => causes[code].some((rate) => rate > 0));
  const series = codes.map((code, index) => ({
    key: code,
    label: code,
    colour: CAUSE_COLOURS[index % CAUSE_COLOURS.length],
  }));
  const now = Object.entries(lately?.causes ?? {}).sort((one, other) => other[1] - one[1]);
  const summary =
    now.length === 0
      ? 'Nothing is put off just now.'
      : `Most of it: ${now[0][0]}, ${count(now[0][1])} a second.`;
  return html`<${Chart} id="deferrals" title="Put off, by cause" unit="attempts per second" atMs=${atMs}
    series=${series} columns=${codes.map((code) => causes[code])} stacked summary=${summary} />`;
}

function Queue({ mail }) {
  const { atMs, columns } = mail;
  const series = [
    { key: 'queued', label: 'waiting', colour: 'c-3', fill: true },
    { key: 'leased', label: 'in delivery', colour: 'good' },
  ];
  const summary = `${count(last(columns.queued))} recipients wait, ${count(last(columns.leased))} are in delivery.`;
  return html`<${Chart} id="queue" title="Queue" unit="recipients" atMs=${atMs}
    series=${series} columns=${series.map(({ key }) => columns[key] ?? [])} summary=${summary} />`;
}

function Connections({ mail, lately }) {
  const { atMs, columns } = mail;
  const series = [
    { key: 'connections', label: 'open', colour: 'c-1', fill: true },
    { key: 'full', label: 'full handshakes/s', colour: 'c-3' },
    { key: 'resumed', label: 'resumed/s', colour: 'good' },
    { key: 'clear', label: 'without TLS/s', colour: 'c-5' },
    { key: 'failed', label: 'failed/s', colour: 'bad' },
  ];
  const made = sum([lately?.full, lately?.resumed, lately?.clear]);
  const each = made > 0 ? `, one for ${count((lately.delivered ?? 0) / made)} messages` : '';
  const summary = `${count(last(columns.connections))} open; ${count(made)} made a second${each}.`;
  return html`<${Chart} id="connections" title="Connections to MX hosts" atMs=${atMs}
    series=${series} columns=${series.map(({ key }) => columns[key] ?? [])} summary=${summary} />`;
}

const SPANS = [
  ['fine', '10 minutes'],
  ['coarse', '2 hours'],
];

export function Charts({ history, tick, hasDns, hasMail }) {
  const [span, setSpan] = useState('fine');
  if (history === null) return html`<p class="nothing">Fetching the past…</p>`;
  const { dns, mail } =
    span === 'fine'
      ? { dns: smooth(history.fine.dns), mail: smooth(history.fine.mail) }
      : history.coarse;
  const latelyDns = tick.dns?.lately ?? null;
  const latelyMail = tick.mail?.lately ?? null;
  return html`<section aria-labelledby="past-title">
    <div class="section-head">
      <h2 id="past-title">Now and before</h2>
      <fieldset class="choice">
        <legend class="sr-only">How far back</legend>
        ${SPANS.map(
          ([value, label]) => html`<label key=${value}>
            <input type="radio" name="span" value=${value} checked=${span === value}
              onChange=${() => setSpan(value)} /><span>${label}</span>
          </label>`,
        )}
      </fieldset>
    </div>
    <div class="charts">
      ${hasDns && html`<${Sources} dns=${dns} lately=${latelyDns} />`}
      ${hasDns && html`<${Packets} dns=${dns} mail=${mail} lately=${latelyDns} latelyMail=${latelyMail} />`}
      ${hasMail && html`<${Rates} mail=${mail} lately=${latelyMail} />`}
      ${hasMail && html`<${Deferrals} mail=${mail} lately=${latelyMail} />`}
      ${hasMail && html`<${Queue} mail=${mail} />`}
      ${hasMail && html`<${Connections} mail=${mail} lately=${latelyMail} />`}
    </div>
  </section>`;
}
