/** What is known of a message id, a recipient or a domain. */
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import { Act } from './actions.js';
import { age, bare, count, siteName, sitePath, visible } from './format.js';
import { fetchJson } from './live.js';
import { Table, Waiting } from './tables.js';

export function FindPage({ sought, state }) {
  const [{ found, trouble }, setAnswer] = useState({ found: null, trouble: null });
  useEffect(() => {
    let isOver = false;
    setAnswer({ found: null, trouble: null });
    fetchJson(`/v1/dashboard/find?q=${encodeURIComponent(sought)}`).then(
      (body) => !isOver && setAnswer({ found: body, trouble: null }),
      (error) => !isOver && setAnswer({ found: null, trouble: error.message }),
    );
    return () => {
      isOver = true;
    };
  }, [sought]);
  return html`<section class="card" aria-labelledby="found-title">
      <p class="back"><a href="#/">← Overview</a></p>
      <h1 id="found-title" tabindex="-1">${visible(sought)}</h1>
      ${found === null && html`<p class="nothing" role="status">${trouble ?? 'Looking…'}</p>`}
      ${found !== null && html`<${Summary} found=${found} state=${state} />`}
    </section>
    ${found !== null && html`<${Mail} found=${found} state=${state} />`}
    ${found?.explanation && html`<${Dns} explanation=${found.explanation} />`}`;
}

function Summary({ found, state }) {
  const { kind, sought, route } = found;
  if (kind !== 'domain') return html`<p>A ${kind === 'message' ? 'message id' : 'recipient'}.</p>`;
  const domain = bare(sought);
  const isSuspended = state.mail?.suspensions.some(
    ({ scope, name }) => scope === 'domain' && name === domain,
  );
  return html`${
    route === null
      ? html`<p class="nothing">Where its mail goes is not known: no mta answers, or this is no domain.</p>`
      : html`<p><span class="badge ${route.verdict === 'route' ? 'good' : 'bad'}">${route.verdict}</span> ${visible(route.text)}.
          ${route.site && html` Site <a href=${sitePath(route.site.alias)}>${visible(siteName(route.site.alias))}</a>, TLS ${route.site.tls}${route.site.dane ? ' with DANE' : ''}.`}
          ${route.verdict !== 'trouble' && ` Known for ${age(route.freshForMs)}.`}</p>
        <${Hosts} ranks=${route.ranks} />`
  }
  ${
    state.actions &&
    html`<div class="buttons">
      ${
        isSuspended
          ? html`<${Act} label="Resume" order=${{ action: 'resume', scope: 'domain', name: domain }} text="Mail to ${domain} goes out again." />`
          : html`<${Act} label="Suspend" danger order=${{ action: 'suspend', scope: 'domain', name: domain }} text="No mail goes to ${domain} until it is resumed, also after a restart." />`
      }
      <${Act} label="Retry all" order=${{ action: 'retry-domain', domain }} text="All mail to ${domain} that waits is tried now." preview />
      <${Act} label="Flush DNS" order=${{ action: 'flush', name: domain }} text="What is cached of ${domain} and the names below it is dropped, and asked for again." />
    </div>`
  }`;
}

function Hosts({ ranks }) {
  const rows = ranks.flatMap((hosts, rank) =>
    hosts.map(({ host, addresses, trouble }) => ({
      key: host,
      cells: [String(rank + 1), visible(host), visible(trouble ?? addresses.join(', '))],
    })),
  );
  if (rows.length === 0) return null;
  return html`<${Table} caption="MX hosts" hideCaption rows=${rows} nothing=""
    columns=${[{ label: 'Rank' }, { label: 'Host', kind: 'name' }, { label: 'Addresses', kind: 'wide' }]} />`;
}

function Mail({ found, state }) {
  const { recipients, more, kind } = found;
  const gone =
    kind === 'message'
      ? 'Not in the queue: delivered, returned or never accepted.'
      : 'Nothing waits.';
  return html`<section class="card"><h2>Waiting, and why</h2>
    ${
      recipients === null
        ? html`<p class="nothing">${kind === 'message' ? gone : 'No mta answers.'}</p>`
        : html`<${Waiting} recipients=${recipients} actions=${state.actions} caption="Recipients found" nothing=${gone} />`
    }
    ${more && html`<p class="nothing">There is more: postilion queue list shows all of it.</p>`}
  </section>`;
}

function Dns({ explanation }) {
  const { cached, failures, inFlight, ledger } = explanation;
  const rows = cached.map((response, at) => ({
    key: `${response.name} ${response.type} ${at}`,
    cells: [
      visible(bare(response.name)),
      response.type,
      response.kind,
      response.ttlSeconds < 0
        ? `stale for ${age(-response.ttlSeconds * 1000)}`
        : age(response.ttlSeconds * 1000),
      visible(response.records.join('; ')),
    ],
  }));
  return html`<section class="card"><h2>What DNS knows of it</h2>
    ${ledger && html`<p>${count(ledger.lookups)} lookups cost ${count(ledger.packets)} packets; ${count(ledger.failures)} failed, ${count(ledger.stale)} were answered stale.</p>`}
    ${failures.map(({ name, type, reason, ttlSeconds }) => html`<p key="${name} ${type}"><span class="badge bad">failed</span> ${visible(bare(name))} ${type}: ${visible(reason)}; asked again in ${age(ttlSeconds * 1000)}.</p>`)}
    ${inFlight.map(({ name, type, state, clients, ageMs }) => html`<p key="${name} ${type}"><span class="badge warn">under way</span> ${visible(bare(name))} ${type}: ${visible(state)}; ${count(clients)} clients wait ${age(ageMs)}.</p>`)}
    <${Table} caption="Cached responses" hideCaption rows=${rows} nothing="Nothing is cached: nobody asked lately."
      columns=${[{ label: 'Name' }, { label: 'Type' }, { label: 'Kind' }, { label: 'Time left', number: true }, { label: 'Records', kind: 'wide' }]} />
  </section>`;
}
