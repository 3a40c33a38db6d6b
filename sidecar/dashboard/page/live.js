/**
 * What the page knows: the past once, then a tick each second and the tables every few, by server-sent
 * events; whoever listens is told of each.
 *
 * Invariant: the fine past holds FINE_POINTS at most; a stream that was interrupted fetches it anew, so
 * that no second is drawn twice or lost.
 */

const FINE_POINTS = 600;
/** The two hours and the sites come at a slower pace, so they are fetched again at times. */
const REFRESH_MS = 20_000;
const ANSWER_TIMEOUT_MS = 10_000;

export const store = {
  tick: null,
  state: null,
  history: null,
  connected: false,
  /** Why there is nothing to show. */
  trouble: null,
};

const listeners = new Set();

export function subscribe(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = () => {
  for (const listener of listeners) listener();
};

/** @throws Error with a sentence for people */
export async function fetchJson(path, init = {}) {
  const response = await fetch(path, { ...init, signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  const body = await response.json().catch(() => null);
  if (response.ok) return body;
  const error = new Error(body?.error?.message ?? `${response.status} ${response.statusText}`);
  error.status = response.status;
  throw error;
}

let stream = null;
let refresh = 0;

export function start() {
  if (stream !== null) return;
  stream = new EventSource('/v1/dashboard/live');
  stream.addEventListener('open', () => {
    store.connected = true;
    store.trouble = null;
    void loadHistory();
  });
  stream.addEventListener('error', () => {
    store.connected = false;
    store.trouble ??= 'Postilion does not answer';
    // Refused rather than interrupted: the browser would not try again by itself.
    if (stream?.readyState === EventSource.CLOSED) {
      stream = null;
      setTimeout(start, 5000);
    }
    tell();
  });
  stream.addEventListener('state', ({ data }) => {
    store.state = JSON.parse(data);
  });
  stream.addEventListener('tick', ({ data }) => {
    store.tick = JSON.parse(data);
    append(store.tick);
    tell();
  });
  clearInterval(refresh);
  refresh = setInterval(() => void loadHistory(), REFRESH_MS);
}

export function stop() {
  stream?.close();
  stream = null;
  clearInterval(refresh);
}

async function loadHistory() {
  try {
    store.history = await fetchJson('/v1/dashboard/history');
    tell();
  } catch {
    // The stream says what is wrong.
  }
}

function append({ dns, mail }) {
  if (store.history === null) return;
  const { fine } = store.history;
  if (dns !== null && isNew(fine.dns, dns.row)) {
    push(fine.dns.atMs, dns.row.atMs);
    for (const [source, column] of Object.entries(fine.dns.answers)) {
      push(column, dns.row.answers[source]);
    }
    for (const [name, column] of Object.entries(fine.dns.columns)) push(column, dns.row[name]);
  }
  if (mail !== null && isNew(fine.mail, mail.row)) {
    for (const code of Object.keys(mail.row.causes)) {
      fine.mail.causes[code] ??= fine.mail.atMs.map(() => 0);
    }
    push(fine.mail.atMs, mail.row.atMs);
    for (const [code, column] of Object.entries(fine.mail.causes)) {
      push(column, mail.row.causes[code] ?? 0);
    }
    for (const [name, column] of Object.entries(fine.mail.columns)) push(column, mail.row[name]);
  }
}

const isNew = ({ atMs }, row) => atMs.length === 0 || row.atMs > atMs[atMs.length - 1];

function push(column, value) {
  column.push(value);
  if (column.length > FINE_POINTS) column.shift();
}
