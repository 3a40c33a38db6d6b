/**
 * The dashboard: asks the mta's JSON API every other second and shows what it says.
 *
 * Invariant: text that strangers wrote (addresses, replies, names) reaches the page only through
 * textContent, so it is never markup.
 */

const REFRESH_MS = 2000;
const ANSWER_TIMEOUT_MS = 5000;
const WAITING_SHOWN = 50;

/** Where answers come from, as the resolver names it; those that cost no packet upstream first. */
const FROM_MEMORY = ['hot', 'cache', 'coalesced', 'stale', 'local'];
const SOURCES = [...FROM_MEMORY, 'upstream', 'refused', 'failure'];

const byId = (id) => document.getElementById(id);
const count = (value) => Math.round(value).toLocaleString('en');

function element(tag, text, className) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (className !== undefined) made.className = className;
  return made;
}

/** @returns "5 s", "3 min", "4 h", "2 d" */
function age(ms) {
  const seconds = Math.max(0, ms / 1000);
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800
    ? `${Math.round(seconds / 3600)} h`
    : `${Math.round(seconds / 86_400)} d`;
}

async function fetchJson(path) {
  const response = await fetch(path, { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  if (!response.ok) throw new Error(`${path} answered ${response.status}`);
  return response.json();
}

/** Counters of the last refresh, for rates. */
let previous = null;

async function refresh() {
  const [mta, resolver, queue] = await Promise.all([
    fetchJson('/v1/status'),
    fetchJson('/v1/resolver'),
    fetchJson(`/v1/queue?limit=${WAITING_SHOWN}`),
  ]);
  const now = {
    atMs: Date.now(),
    delivered: mta.outcomes.delivered ?? 0,
    queries: resolver.status?.queries ?? 0,
    sent: resolver.status?.upstreamPackets.sent ?? 0,
  };
  const rates = ratesSince(previous, now);
  previous = now;
  showVerdict(mta, resolver, rates);
  showMail(mta, rates);
  showDns(resolver, rates);
  showSites(mta);
  showWaiting(queue.recipients, now.atMs);
}

/** @returns per second; null at first, and after a restart has set a counter back */
function ratesSince(before, now) {
  if (before === null || now.atMs <= before.atMs) return null;
  const per = (key) => ((now[key] - before[key]) * 1000) / (now.atMs - before.atMs);
  const rates = { delivered: per('delivered'), queries: per('queries'), sent: per('sent') };
  return Object.values(rates).some((rate) => rate < 0) ? null : rates;
}

function showVerdict(mta, resolver, rates) {
  const troubles = new Set(mta.troubles);
  if (mta.unready !== null) troubles.add(mta.unready);
  if (resolver.status === null) troubles.add(`DNS: ${resolver.reason}`);
  else if (resolver.status.unready !== null) troubles.add(`DNS: ${resolver.status.unready}`);
  const verdict = byId('verdict');
  verdict.textContent = troubles.size > 0 ? 'Something is wrong' : flowSentence(mta, rates);
  verdict.className = troubles.size > 0 ? 'bad' : 'good';
  byId('troubles').replaceChildren(...[...troubles].map((trouble) => element('li', trouble)));
  byId('identity').textContent =
    `${mta.hostname} · ${mta.version} · up ${age(Date.now() - mta.startedAtMs)}`;
}

function flowSentence(mta, rates) {
  if (rates !== null && rates.delivered > 0) {
    return `Mail is flowing: ${rates.delivered.toFixed(1)} delivered a second`;
  }
  if (mta.leased > 0) return 'Mail is being delivered';
  return mta.queued > 0 ? 'All is well; some mail waits, see below' : 'All is well; nothing waits';
}

function showFigures(list, figures) {
  const pairs = figures.map(([label, value]) => {
    const pair = element('div');
    pair.append(element('dt', label), element('dd', value));
    return pair;
  });
  list.replaceChildren(...pairs);
}

function showMail(mta, rates) {
  const outcomes = Object.entries(mta.outcomes).map(([name, value]) => [name, count(value)]);
  showFigures(byId('mail'), [
    ['delivered a second', rates === null ? '–' : rates.delivered.toFixed(1)],
    ...outcomes,
    ['queued', count(mta.queued)],
    ['in delivery', count(mta.leased)],
    ['connections', count(mta.connections)],
  ]);
}

function showDns({ status, reason }, rates) {
  const absent = byId('dns-absent');
  absent.hidden = status !== null;
  absent.textContent = reason ?? '';
  for (const id of ['dns', 'sources', 'sources-legend']) byId(id).hidden = status === null;
  if (status === null) return;

  const sum = (sources) => sources.reduce((all, source) => all + (status.answers[source] ?? 0), 0);
  const total = sum(SOURCES);
  const share = total === 0 ? '–' : `${((sum(FROM_MEMORY) / total) * 100).toFixed(1)} %`;
  showFigures(byId('dns'), [
    ['lookups a second', rates === null ? '–' : rates.queries.toFixed(1)],
    ['packets upstream a second', rates === null ? '–' : rates.sent.toFixed(1)],
    ['lookups', count(status.queries)],
    ['packets upstream', count(status.upstreamPackets.sent ?? 0)],
    ['answered without asking', share],
    ['cache', `${(status.cacheBytes / 1_048_576).toFixed(1)} MiB`],
  ]);
  showSources(status.answers, total);
}

function showSources(answers, total) {
  const present = SOURCES.filter((source) => (answers[source] ?? 0) > 0);
  const percent = (source) => (answers[source] / total) * 100;
  const parts = present.map((source) => {
    const part = element('span', undefined, source);
    part.style.width = `${percent(source)}%`;
    return part;
  });
  const legend = present.map((source) => {
    const item = element('li');
    item.append(element('i', undefined, source), `${source} ${count(answers[source])}`);
    return item;
  });
  const spoken = present.map((source) => `${source} ${percent(source).toFixed(1)} %`).join(', ');
  byId('sources').setAttribute('aria-label', spoken);
  byId('sources').replaceChildren(...parts);
  byId('sources-legend').replaceChildren(...legend);
}

/** @param cells texts, or [text, class name] */
function rowOf(cells) {
  const row = element('tr');
  row.append(...cells.map((cell) => element('td', ...[cell].flat())));
  return row;
}

const number = (text) => [text, 'number'];

function showRows(body, rows, nothing) {
  const empty = rowOf([[nothing, 'nothing']]);
  empty.firstChild.colSpan = 6;
  body.replaceChildren(...(rows.length > 0 ? rows : [empty]));
}

function showSites(mta) {
  const sites = mta.sites.map(({ alias, domains, buffered, connections, hold }) =>
    rowOf([
      alias,
      number(count(domains)),
      number(count(buffered)),
      number(count(connections)),
      hold?.text ?? '',
    ]),
  );
  const held = mta.heldDomains.map(({ domain, wait }) =>
    rowOf([domain, number('1'), number('–'), number('–'), wait.text]),
  );
  showRows(byId('sites'), [...sites, ...held], 'No site has work now.');
}

function showWaiting(recipients, nowMs) {
  const rows = recipients.map(({ id, address, receivedAtMs, attempts, wait }) =>
    rowOf([
      id,
      address,
      number(age(nowMs - receivedAtMs)),
      number(count(attempts)),
      number(wait.untilMs === null ? '–' : age(wait.untilMs - nowMs)),
      wait.text,
    ]),
  );
  showRows(byId('waiting'), rows, 'Nothing waits.');
}

async function run() {
  try {
    await refresh();
  } catch (error) {
    previous = null;
    const verdict = byId('verdict');
    verdict.className = 'bad';
    verdict.textContent = `No answer from Postilion: ${error.message}`;
  }
  // A page in the background asks nothing.
  if (document.hidden) document.addEventListener('visibilitychange', run, { once: true });
  else setTimeout(run, REFRESH_MS);
}

run();
