/**
 * What an operator can do from here: each action says what it will do, asks for the token where none is
 * known, and is confirmed.
 *
 * Invariant: the token is in this page's memory, and in sessionStorage when asked to be; it travels in a
 * header, never in a URL.
 */
import { html } from 'htm/preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { count, visible } from './format.js';
import { fetchJson } from './live.js';

const KEY = 'postilion-token';
let token = sessionStorage.getItem(KEY) ?? '';

function keep(value, isForTab) {
  token = value;
  if (isForTab) sessionStorage.setItem(KEY, value);
  else sessionStorage.removeItem(KEY);
}

function post(order) {
  return fetchJson('/v1/dashboard/act', {
    method: 'POST',
    body: JSON.stringify(order),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
  });
}

/** The one dialog, and who opens it. */
let open = () => undefined;

/**
 * A button that asks before it acts.
 *
 * @param text what will happen, in one sentence
 * @param preview the program can count beforehand what is meant
 */
export function Act({ label, order, text, preview = false, danger = false }) {
  const onClick = () => open({ label, order, text, preview, danger });
  return html`<button type="button" class=${danger ? 'act danger' : 'act'} onClick=${onClick}>
    ${label}<span class="sr-only"> ${order.id ?? order.name ?? order.domain ?? ''}</span>
  </button>`;
}

function outcome(answer) {
  if (typeof answer.done === 'number') {
    const busy = answer.busy > 0 ? `; ${count(answer.busy)} are in hand already` : '';
    return `Done: ${count(answer.done)} of ${count(answer.matched)}${busy}.`;
  }
  if (typeof answer.dropped === 'number')
    return `Done: ${count(answer.dropped)} responses dropped.`;
  return 'Done.';
}

export function ActionDialog() {
  const dialog = useRef(null);
  const [asked, setAsked] = useState(null);
  const [typed, setTyped] = useState('');
  const [isForTab, setForTab] = useState(false);
  const [hasToken, setHasToken] = useState(token !== '');
  const [status, setStatus] = useState({ text: '', isBad: false, done: false });
  const [busy, setBusy] = useState(false);

  open = (action) => {
    setAsked(action);
    setStatus({ text: '', isBad: false, done: false });
    setTyped('');
    setHasToken(token !== '');
  };
  useEffect(() => {
    if (asked !== null && !dialog.current.open) dialog.current.showModal();
  }, [asked]);

  async function run(event) {
    event.preventDefault();
    if (status.done) return dialog.current.close();
    if (typed !== '') keep(typed.trim(), isForTab);
    setBusy(true);
    try {
      if (asked.preview && status.preview === undefined) {
        const { matched, busy: inHand } = await post({ ...asked.order, dry_run: true });
        if (matched - inHand !== 1) {
          const text = `${count(matched)} recipients are meant, ${count(inHand)} of them in hand already. Go on?`;
          setStatus({ text, isBad: false, done: false, preview: true });
          return;
        }
      }
      setStatus({ text: outcome(await post(asked.order)), isBad: false, done: true });
      setHasToken(true);
    } catch (error) {
      if (error.status === 401) keep('', false);
      setHasToken(token !== '');
      setStatus({ text: visible(error.message), isBad: true, done: false });
    } finally {
      setBusy(false);
    }
  }

  return html`<dialog ref=${dialog} aria-labelledby="act-title" onClose=${() => setAsked(null)}>
    ${
      asked !== null &&
      html`<form method="dialog" onSubmit=${run}>
        <h2 id="act-title">${asked.label}?</h2>
        <p>${visible(asked.text)}</p>
        ${
          !hasToken &&
          html`<label class="field">Token<input type="password" autocomplete="off" required value=${typed} onInput=${({ currentTarget }) => setTyped(currentTarget.value)} /></label>
            <label class="check"><input type="checkbox" checked=${isForTab} onChange=${({ currentTarget }) => setForTab(currentTarget.checked)} /> Keep it until this tab is closed</label>`
        }
        <p role="status" class=${status.isBad ? 'bad' : ''}>${status.text}</p>
        <div class="buttons">
          <button type="button" onClick=${() => dialog.current.close()}>${status.done ? 'Close' : 'Cancel'}</button>
          ${!status.done && html`<button type="submit" class=${asked.danger ? 'danger' : 'primary'} disabled=${busy}>${asked.label}</button>`}
        </div>
      </form>`
    }
  </dialog>`;
}

/** Actions on everything. */
export function Actions({ state }) {
  const { mail, dns, actions } = state;
  const all = { action: 'suspend-all' };
  const resume = { action: 'resume-all' };
  return html`<section class="card actions" aria-labelledby="actions-title">
    <h2 id="actions-title">Actions</h2>
    ${
      actions
        ? html`<div class="buttons">
            ${
              mail !== null &&
              (mail.suspendedAtMs === null
                ? html`<${Act} label="Suspend delivery" danger order=${all} text="No mail is sent until delivery is resumed; transactions under way are finished, and mail is still taken." />`
                : html`<${Act} label="Resume delivery" order=${resume} text="Mail that waits goes out again." />`)
            }
            ${dns !== null && html`<${Act} label="Flush the DNS cache" danger order=${{ action: 'flush-all' }} text="Every cached response is dropped, also what could be served while upstreams are down. All of it is asked for again, within the budget." />`}
          </div>
          <p class="hint">To act on one domain or message, search for it; on a site, open its page.</p>`
        : html`<p class="hint">This page only shows, since no token is set. To act from here, set <code>admin.token</code> in the configuration and restart; the command line works without.</p>`
    }
  </section>`;
}
