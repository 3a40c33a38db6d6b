/** One site: its route, its shaping, what its hosts said last, and the mail that waits for it. */
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import { Act } from './actions.js';
import { age, count, findPath, plural, siteName, timeOfDay, visible } from './format.js';
import { fetchJson } from './live.js';
import { Table, Waiting } from './tables.js';

const REFRESH_MS = 3_000;

const LOOKS = { delivered: 'good', deferred: 'warn', bounced: 'bad', expired: 'bad' };

function useAnswer(path) {
  const [answer, setAnswer] = useState({ body: null, trouble: null });
  useEffect(() => {
    let isOver = false;
    let timer = 0;
    const ask = async () => {
      try {
        const body = await fetchJson(path);
        if (!isOver) setAnswer({ body, trouble: null });
      } catch (error) {
        if (!isOver) setAnswer(({ body }) => ({ body, trouble: error.message }));
      }
      if (!isOver) timer = setTimeout(ask, REFRESH_MS);
    };
    setAnswer({ body: null, trouble: null });
    void ask();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [path]);
  return answer;
}

const limitText = (limit) =>
  limit === null
    ? 'as fast as it goes'
    : `${count(limit.max)}, shared by ${scopeText(limit.scope)}`;

const scopeText = (scope) => (scope.startsWith('site ') ? 'this site' : visible(scope));

function Facts({ rows }) {
  return html`<dl class="facts">${rows.map(([label, value]) => html`<div key=${label}><dt>${label}</dt><dd>${value}</dd></div>`)}</dl>`;
}

export function SitePage({ name, state }) {
  const { body, trouble } = useAnswer(`/v1/dashboard/site?name=${encodeURIComponent(name)}`);
  const heading = html`<h1 tabindex="-1">${visible(siteName(name))}</h1>`;
  if (body === null) {
    return html`<section class="card"><p class="back"><a href="#/">← Overview</a></p>${heading}<p class="nothing">${trouble ?? 'Asking…'}</p></section>`;
  }
  const { site, recipients } = body;
  const suspended = state.mail?.suspensions.find(
    ({ scope, name: of }) => scope === 'site' && (of === site.alias || of === site.id),
  );
  const act = suspended
    ? html`<${Act} label="Resume" order=${{ action: 'resume', scope: 'site', name: suspended.name }} text="Mail for ${site.alias} goes out again." />`
    : html`<${Act} label="Suspend" danger order=${{ action: 'suspend', scope: 'site', name: site.alias }} text="No mail goes to ${site.alias} until it is resumed, also after a restart." />`;
  return html`<section class="card" aria-labelledby="site-title">
    <p class="back"><a href="#/">← Overview</a></p>
    <div class="section-head"><h1 id="site-title" tabindex="-1">${visible(siteName(site.alias))}</h1>${state.actions && act}</div>
    <p>${standing(site, suspended)}</p>
    <div class="pair">
      <div><h2>Route</h2><${Facts} rows=${routeRows(site)} /></div>
      <div><h2>Limits</h2><${Facts} rows=${limitRows(site)} /></div>
    </div>
  </section>
  <section class="card"><h2>What its hosts said last</h2><${Replies} replies=${site.replies} /></section>
  <section class="card"><h2>Waiting for it, and why</h2>
    <${Waiting} recipients=${recipients} actions=${state.actions} caption="Recipients that wait for this site" nothing="No mail of the domains at work here waits." />
  </section>`;
}

function standing(site, suspended) {
  if (suspended)
    return html`<span class="badge bad">suspended</span> by an operator, for ${age(Date.now() - suspended.sinceMs)}.`;
  if (site.hold !== null) {
    const next =
      site.hold.untilMs === null
        ? ''
        : ` It is tried again in ${age(site.hold.untilMs - Date.now())}.`;
    return html`<span class="badge bad">held</span> ${visible(site.hold.text)}.${next}`;
  }
  if (site.slowed !== null)
    return html`<span class="badge warn">slowed</span> ${visible(site.slowed.text)}`;
  if (site.connections > 0)
    return html`<span class="badge good">at work</span> over ${plural(site.connections, 'connection')}.`;
  return html`<span class="badge">at rest</span> Nothing is due for it now.`;
}

const routeRows = (site) => [
  ...site.ranks.map((hosts, rank) => [`Rank ${rank + 1}`, hosts.map(visible).join(', ')]),
  ['Port', String(site.port)],
  ['TLS', site.dane ? `${site.tls}, DANE where hosts have TLSA records` : site.tls],
  [
    `Domains with work (${count(site.domains)})`,
    site.domainNames.length === 0
      ? 'none'
      : site.domainNames
          .slice(0, 20)
          .map(
            (domain, at) =>
              html`${at > 0 ? ', ' : ''}<a href=${findPath(domain)}>${visible(domain)}</a>`,
          ),
  ],
];

const limitRows = ({ limits, connections, allowance }) => [
  ['Connections', `${count(connections)} open; at most ${limitText(limits.connections)}`],
  [
    'Its hosts stand',
    allowance === null
      ? 'not known while it rests'
      : `${plural(Math.floor(allowance), 'connection')}, as far as seen`,
  ],
  ['Messages a second', limitText(limits.messagesPerSecond)],
  ['Messages on one connection', count(limits.messagesPerConnection)],
  ['Recipients of one message', count(limits.recipientsPerMessage)],
  ['Tries after', limits.retryMs.map(age).join(', ')],
];

function Replies({ replies }) {
  const rows = replies.map(({ atMs, host, domain, outcome, text }, at) => ({
    key: `${atMs} ${at}`,
    cells: [
      timeOfDay(atMs),
      html`<span class="badge ${LOOKS[outcome]}">${outcome}</span>`,
      visible(host),
      visible(domain ?? ''),
      visible(text),
    ],
  }));
  return html`<${Table} caption="Replies, the newest first" hideCaption rows=${rows} nothing="Nothing yet."
    columns=${[{ label: 'When' }, { label: 'Outcome' }, { label: 'Host' }, { label: 'Domain' }, { label: 'What it said', kind: 'wide' }]} />`;
}
