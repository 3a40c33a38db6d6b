/** Tables of what there is: domains, upstreams, sites, limits, mail that waits. */
import { html } from 'htm/preact';
import { Act } from './actions.js';
import { age, bare, count, findPath, siteName, sitePath, timeOfDay, visible } from './format.js';

/**
 * @param columns [{ label, number }]; @param rows of cells, each a child
 * @param nothing said in place of no rows
 */
export function Table({ caption, columns, rows, nothing, hideCaption = false }) {
  if (rows.length === 0) return html`<p class="nothing">${nothing}</p>`;
  return html`<div class="scroll" tabindex="0" role="region" aria-label=${caption}>
    <table>
      <caption class=${hideCaption ? 'sr-only' : ''}>${caption}</caption>
      <thead><tr>${columns.map(({ label, number, hidden }) => html`<th scope="col" class=${number ? 'number' : ''}>${hidden ? html`<span class="sr-only">${label}</span>` : label}</th>`)}</tr></thead>
      <tbody>${rows.map(
        ({ key, cells }) =>
          html`<tr key=${key}>${cells.map((cell, at) => html`<td class=${columns[at].number ? 'number' : (columns[at].kind ?? '')}>${cell}</td>`)}</tr>`,
      )}</tbody>
    </table>
  </div>`;
}

const DOMAIN_COLUMNS = [
  { label: 'Domain', kind: 'name' },
  { label: 'Lookups', number: true },
  { label: 'Packets', number: true },
  { label: 'Failed', number: true },
  { label: 'Stale', number: true },
];

const domainRow = ({ domain, lookups, packets, failures, stale }) => ({
  key: domain,
  cells: [
    html`<a href=${findPath(bare(domain))}>${visible(bare(domain))}</a>`,
    count(lookups),
    count(packets),
    count(failures),
    count(stale),
  ],
});

export function Domains({ dns }) {
  return html`<div class="pair">
    <section class="card" aria-labelledby="busiest-title">
      <h2 id="busiest-title">Busiest domains</h2>
      <${Table} caption="Busiest domains, by lookups since the start" hideCaption columns=${DOMAIN_COLUMNS}
        rows=${dns.busiest.map(domainRow)} nothing="Nobody has asked for anything yet." />
    </section>
    <section class="card" aria-labelledby="troubled-title">
      <h2 id="troubled-title">Domains in trouble</h2>
      <${Table} caption="Domains that failed or were answered past their time" hideCaption columns=${DOMAIN_COLUMNS}
        rows=${dns.troubled.map(domainRow)} nothing="None: every lookup was answered from fresh data." />
    </section>
  </div>`;
}

export function Upstreams({ dns }) {
  const rows = dns.upstreams.map(({ address, up, rttMs, failuresInSuccession, lastFailure }) => ({
    key: address,
    cells: [
      address,
      html`<span class="badge ${up ? 'good' : 'bad'}">${up ? 'up' : 'down'}</span>`,
      rttMs === null ? '–' : `${count(rttMs)} ms`,
      count(failuresInSuccession),
      visible(lastFailure ?? ''),
    ],
  }));
  const events = dns.events.map((event, at) => ({
    key: `${event.atMs} ${at}`,
    cells: [timeOfDay(event.atMs), visible(eventText(event))],
  }));
  return html`<div class="pair">
    <section class="card" aria-labelledby="upstreams-title">
      <h2 id="upstreams-title">Upstreams</h2>
      <${Table} caption="Servers that the resolver asks" hideCaption rows=${rows} nothing="No upstream is known; set resolver.upstreams."
        columns=${[{ label: 'Address' }, { label: 'State' }, { label: 'Round trip', number: true }, { label: 'Failures in a row', number: true }, { label: 'Last failure' }]} />
    </section>
    <section class="card" aria-labelledby="events-title">
      <h2 id="events-title">What happened to DNS</h2>
      <${Table} caption="Upstreams and names that failed and recovered, the newest first" hideCaption rows=${events} nothing="Nothing since the start."
        columns=${[{ label: 'When' }, { label: 'What' }]} />
    </section>
  </div>`;
}

function eventText(event) {
  switch (event.event) {
    case 'upstream-down':
      return `${event.upstream} went down${event.reason === null ? '' : `: ${event.reason}`}`;
    case 'upstream-up':
      return `${event.upstream} is up again`;
    case 'name-failing':
      return `${bare(event.name)} ${event.type} fails: ${event.reason}`;
    case 'name-recovered':
      return `${bare(event.name)} ${event.type} resolves again, after ${age(event.failedSeconds * 1000)}`;
    case 'reloaded':
      return `configuration reloaded: ${event.changed.join(', ') || 'no change'}`;
    default:
      return event.event;
  }
}

const CHANGES = {
  slow: ['warn', 'slower'],
  rest: ['warn', 'rests'],
  connections: ['warn', 'fewer connections'],
  hold: ['bad', 'held'],
  well: ['good', 'well again'],
};

export function Limits({ mail, actions }) {
  const rows = mail.changes.map(({ atMs, site, kind, text }, at) => ({
    key: `${atMs} ${at}`,
    cells: [
      timeOfDay(atMs),
      html`<a href=${sitePath(site)}>${visible(siteName(site))}</a>`,
      html`<span class="badge ${CHANGES[kind]?.[0] ?? ''}">${CHANGES[kind]?.[1] ?? kind}</span>`,
      visible(text),
    ],
  }));
  return html`<section class="card" aria-labelledby="limits-title">
    <h2 id="limits-title">Limits and why they changed</h2>
    ${mail.suspensions.length > 0 && html`<${Suspensions} suspensions=${mail.suspensions} actions=${actions} />`}
    <${Table} caption="Changes of pace, the newest first" hideCaption rows=${rows} nothing="No site was slowed, held or rested since the start."
      columns=${[{ label: 'When' }, { label: 'Site', kind: 'name' }, { label: 'Change' }, { label: 'Why', kind: 'wide' }]} />
  </section>`;
}

function Suspensions({ suspensions, actions }) {
  const rows = suspensions.map(({ scope, name, sinceMs }) => ({
    key: `${scope} ${name}`,
    cells: [
      scope,
      visible(name),
      age(Date.now() - sinceMs),
      actions &&
        html`<${Act} label="Resume" order=${{ action: 'resume', scope, name }} text="Mail of the ${scope} ${name} goes out again." />`,
    ],
  }));
  return html`<${Table} caption="Held back by operators" rows=${rows} nothing=""
    columns=${[{ label: 'What' }, { label: 'Name' }, { label: 'For', number: true }, { label: 'Action', hidden: true }]} />`;
}

export function Waiting({ recipients, actions, caption, nothing = 'Nothing waits.' }) {
  const now = Date.now();
  const rows = recipients.map(({ id, address, receivedAtMs, attempts, wait, change }) => ({
    key: id,
    cells: [
      html`<a href=${findPath(id)}>${id}</a>`,
      visible(address),
      age(now - receivedAtMs),
      count(attempts),
      whenText(wait.untilMs, now),
      html`${visible(wait.text)}<br /><small>Changed by ${visible(change)}</small>`,
      actions &&
        html`<${Act} label="Retry" order=${{ action: 'retry', id }} text="${id} to ${address} is tried now." preview />`,
    ],
  }));
  return html`<${Table} caption=${caption} hideCaption rows=${rows} nothing=${nothing}
    columns=${[{ label: 'Id' }, { label: 'Recipient', kind: 'name' }, { label: 'Age', number: true }, { label: 'Tries', number: true }, { label: 'Next', number: true }, { label: 'Why it waits', kind: 'wide' }, { label: 'Action', hidden: true }]} />`;
}

function whenText(untilMs, now) {
  if (untilMs === null) return 'on change';
  return untilMs <= now ? 'now' : `in ${age(untilMs - now)}`;
}
