/** Where mail waits: a heat strip for each site, and how the site stands. */
import { html } from 'htm/preact';
import { age, count, siteName, sitePath, timeOfDay, visible } from './format.js';
import { Table } from './tables.js';

const CELLS = 60;
const CELL_WIDTH = 5;
const HEIGHT = 18;
/** More recipients than these: one shade darker each. */
const SHADES = [0, 5, 25, 100, 500, 2500];
const ROWS_MAX = 30;

/** Sites known from the census and those at work now, the fullest first. */
function loads(history, sites) {
  const { atMs, sites: past } = history?.sites ?? { atMs: [], sites: {} };
  const known = new Map();
  for (const [alias, { recipients, oldestSeconds }] of Object.entries(past)) {
    const waiting = recipients[recipients.length - 1] ?? 0;
    const oldest = oldestSeconds[oldestSeconds.length - 1] ?? 0;
    known.set(alias, { alias, recipients, waiting, oldest, status: null });
  }
  for (const status of sites) {
    const { alias } = status;
    const load = known.get(alias) ?? {
      alias,
      recipients: [],
      waiting: status.buffered,
      oldest: null,
    };
    // What has just come and is in hand was not counted.
    known.set(alias, { ...load, waiting: Math.max(load.waiting, status.buffered), status });
  }
  const most = (load) => Math.max(load.waiting, ...load.recipients, 0);
  const all = [...known.values()].sort(
    (one, other) =>
      other.waiting - one.waiting || most(other) - most(one) || (one.alias < other.alias ? -1 : 1),
  );
  return { atMs, all: all.slice(0, ROWS_MAX), more: Math.max(0, all.length - ROWS_MAX) };
}

/** Each cell is the most of the samples it stands for, so that no peak is lost. */
function Strip({ alias, atMs, recipients: counted }) {
  if (atMs.length === 0) return html`<span class="nothing">not counted yet</span>`;
  // A site that was in no census had nothing that waited.
  const recipients = counted.length === 0 ? atMs.map(() => 0) : counted;
  const per = Math.max(1, Math.ceil(recipients.length / CELLS));
  const cells = [];
  for (let at = 0; at < recipients.length; at += per)
    cells.push(Math.max(...recipients.slice(at, at + per)));
  const peak = Math.max(...recipients);
  const peakAt = timeOfDay(atMs[recipients.indexOf(peak)]);
  const now = recipients[recipients.length - 1];
  const text =
    peak === 0
      ? 'nothing waited'
      : `${count(now)} wait now; the most was ${count(peak)}, at ${peakAt}`;
  const left = CELLS - cells.length;
  return html`<svg class="strip" viewBox="0 0 ${CELLS * CELL_WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-label="${siteName(alias)}: ${text}">
    <title>${text}</title>
    ${cells.map((value, at) => html`<rect key=${at} class="heat-${SHADES.filter((shade) => value > shade).length}" x=${(left + at) * CELL_WIDTH} y="0" width=${CELL_WIDTH - 0.7} height=${HEIGHT} rx="1" />`)}
  </svg>`;
}

function stateOf(status) {
  if (status === null || status === undefined) return html`<span class="badge">at rest</span>`;
  if (status.hold !== null) return html`<span class="badge bad">held</span>`;
  return html`<span class="badge good">${status.connections > 0 ? 'at work' : 'ready'}</span>`;
}

export function Sites({ mail, history }) {
  const { atMs, all, more } = loads(history, mail.sites);
  const rows = all.map(({ alias, recipients, waiting, oldest, status }) => ({
    key: alias,
    cells: [
      html`<a href=${sitePath(alias)}>${visible(siteName(alias))}</a>`,
      html`<${Strip} alias=${alias} atMs=${atMs} recipients=${recipients} />`,
      count(waiting),
      oldest === null || waiting === 0 ? '–' : age(oldest * 1000),
      count(status?.connections ?? 0),
      stateOf(status),
      visible(status?.hold?.text ?? ''),
    ],
  }));
  const held = mail.heldDomains.map(({ domain, wait }) => ({
    key: domain,
    cells: [visible(domain), age(Date.now() - wait.sinceMs), visible(wait.text)],
  }));
  return html`<section class="card" aria-labelledby="sites-title">
    <div class="section-head">
      <h2 id="sites-title">Queue by site</h2>
      <p class="heat-key" aria-hidden="true">fewer ${[0, 1, 2, 3, 4, 5, 6].map((shade) => html`<i class="swatch heat-${shade}"></i>`)} more waiting, over two hours</p>
    </div>
    <${Table} caption="Recipients that wait, by site" hideCaption rows=${rows} nothing="No site has had work yet."
      columns=${[{ label: 'Site', kind: 'name' }, { label: 'Over time', kind: 'strip-cell' }, { label: 'Waiting', number: true }, { label: 'Oldest', number: true }, { label: 'Connections', number: true }, { label: 'State' }, { label: 'Why', kind: 'wide' }]} />
    ${more > 0 && html`<p class="nothing">And ${count(more)} more with less.</p>`}
    ${
      held.length > 0 &&
      html`<${Table} caption="Domains that wait for DNS" rows=${held} nothing=""
        columns=${[{ label: 'Domain' }, { label: 'For', number: true }, { label: 'Why', kind: 'wide' }]} />`
    }
  </section>`;
}
