/** The first page: sentences, figures, the past, and tables. */
import { html } from 'htm/preact';
import { Actions } from './actions.js';
import { Charts, hitShare } from './charts.js';
import { age, bytes, count, percent, plural } from './format.js';
import { Sites } from './queue.js';
import { Domains, Limits, Upstreams, Waiting } from './tables.js';
import { Verdicts } from './verdicts.js';

const WAITING_SHOWN = 8;

function Figures({ tick, state }) {
  const dns = tick.dns?.lately ?? null;
  const mail = tick.mail?.lately ?? null;
  const figures = [];
  if (state.mail !== null) {
    const { outcomes, queued, leased, connections, waiting } = state.mail;
    const oldest =
      waiting[0] === undefined
        ? 'nothing waits'
        : `the oldest for ${age(tick.atMs - waiting[0].receivedAtMs)}`;
    figures.push(
      [
        'delivered',
        'Delivered',
        count(mail?.delivered),
        'a second',
        `${count(outcomes.delivered ?? 0)} since start`,
      ],
      ['waiting', 'Waiting', count(queued), 'recipients', oldest],
      [
        'leased',
        'In delivery',
        count(leased),
        'recipients',
        `over ${plural(connections, 'connection')}`,
      ],
    );
  }
  if (state.dns !== null) {
    const share = dns === null ? null : hitShare(dns.answers);
    const avoided = dns === null ? null : Math.max(0, (dns.lookups ?? 0) - (dns.sent ?? 0));
    figures.push(
      [
        'lookups',
        'DNS lookups',
        count(dns?.lookups),
        'a second',
        `${bytes(state.dns.cacheBytes)} in ${count(state.dns.cacheEntries)} responses`,
      ],
      ['memory', 'From memory', percent(share), 'of answers', 'last ten seconds'],
      [
        'avoided',
        'Packets avoided',
        count(avoided),
        'a second',
        `${count(dns?.sent)} a second are sent`,
      ],
    );
  }
  return html`<section aria-label="Figures"><dl class="figures">${figures.map(
    ([key, label, value, unit, note]) => html`<div class="card" key=${key} data-figure=${key}>
      <dt>${label}</dt><dd><b>${value}</b> <span>${unit}</span></dd><dd class="note">${note}</dd>
    </div>`,
  )}</dl></section>`;
}

/** Since the start, as /metrics has them. */
function Totals({ state }) {
  const rows = [];
  if (state.mail !== null) {
    for (const [name, value] of Object.entries(state.mail.outcomes))
      rows.push([`mail ${name}`, value]);
    rows.push(['lookups by the mta', state.mail.dnsQueries]);
  }
  if (state.dns !== null) {
    for (const [source, value] of Object.entries(state.dns.totals.answers))
      rows.push([`answers ${source}`, value]);
    rows.push(
      ['lookups', state.dns.totals.queries],
      ['packets sent upstream', state.dns.totals.sent],
    );
  }
  return html`<section class="card" aria-labelledby="totals-title"><h2 id="totals-title">Since the start</h2>
    <dl class="totals">${rows.map(([label, value]) => html`<div key=${label} data-total=${label}><dt>${label}</dt><dd>${Math.round(value).toLocaleString('en')}</dd></div>`)}</dl>
  </section>`;
}

export function Overview({ tick, state, history }) {
  const { dns, mail } = state;
  return html`<h1 class="sr-only" tabindex="-1">Overview</h1>
    <${Verdicts} verdicts=${tick.verdicts} />
    <${Figures} tick=${tick} state=${state} />
    <${Charts} history=${history} tick=${tick} hasDns=${dns !== null} hasMail=${mail !== null} />
    ${mail !== null && html`<${Sites} mail=${mail} history=${history} />`}
    ${mail !== null && html`<${Limits} mail=${mail} actions=${state.actions} />`}
    ${
      mail !== null &&
      html`<section class="card" aria-labelledby="waiting-title"><h2 id="waiting-title">Waiting, oldest first</h2>
        <${Waiting} recipients=${mail.waiting.slice(0, WAITING_SHOWN)} actions=${state.actions} caption="Recipients that wait, oldest first" />
        ${
          mail.waiting.length > WAITING_SHOWN &&
          html`<details><summary>${mail.waiting.length - WAITING_SHOWN} more</summary>
            <${Waiting} recipients=${mail.waiting.slice(WAITING_SHOWN)} actions=${state.actions} caption="More recipients that wait" />
          </details>`
        }
      </section>`
    }
    ${dns !== null && html`<${Domains} dns=${dns} />`}
    ${dns !== null && html`<${Upstreams} dns=${dns} />`}
    <div class="pair"><${Totals} state=${state} /><${Actions} state=${state} /></div>`;
}
