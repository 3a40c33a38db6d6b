/** The page: its head, and by the address behind "#" the overview, a site, or what was searched for. */
import { html, render } from 'htm/preact';
import { useEffect, useReducer, useRef, useState } from 'preact/hooks';
import { ActionDialog } from './actions.js';
import { age, findPath, visible } from './format.js';
import * as live from './live.js';
import { Overview } from './overview.js';
import { FindPage } from './search.js';
import { SitePage } from './site.js';

/** "#/site/NAME", "#/find/WHAT", or anything else for the overview. */
function placeOf(hash) {
  const [, kind, argument] = /^#\/(site|find)\/(.+)$/.exec(hash) ?? [];
  try {
    return { kind: kind ?? 'overview', argument: decodeURIComponent(argument ?? '') };
  } catch {
    return { kind: 'overview', argument: '' };
  }
}

function usePlace() {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const onMove = () => setPlace(placeOf(location.hash));
    addEventListener('hashchange', onMove);
    return () => removeEventListener('hashchange', onMove);
  }, []);
  return place;
}

function Head({ tick, state, connected }) {
  const [sought, setSought] = useState('');
  const onSubmit = (event) => {
    event.preventDefault();
    if (sought.trim() !== '') location.hash = findPath(sought.trim());
  };
  const part = state?.mail ?? state?.dns;
  const programs = [state?.mail && 'mta', state?.dns && 'resolver'].filter(Boolean).join(' + ');
  return html`<header>
    <a class="brand" href="#/"><img src="/dashboard/icon.svg" alt="" width="28" height="28" /> <span>Postilion</span></a>
    ${part && html`<p class="identity"><b>${visible(state.hostname)}</b> <span>${programs} ${part.version}, up ${age(tick.atMs - part.startedAtMs)}</span></p>`}
    <p class="pulse ${connected ? 'good' : 'bad'}"><i aria-hidden="true"></i>${connected ? 'live' : 'not connected'}</p>
    <form role="search" onSubmit=${onSubmit}>
      <label class="sr-only" for="sought">Message id, recipient or domain</label>
      <input id="sought" type="search" placeholder="Message id, recipient or domain" autocomplete="off" spellcheck=${false}
        value=${sought} onInput=${({ currentTarget }) => setSought(currentTarget.value)} />
      <button type="submit">Search</button>
    </form>
  </header>`;
}

function Page() {
  const [, redraw] = useReducer((count) => count + 1, 0);
  const place = usePlace();
  const main = useRef(null);
  const isFirst = useRef(true);
  useEffect(() => live.subscribe(redraw), []);
  useEffect(() => {
    live.start();
    // A page in the background costs nothing, and catches up when it is looked at.
    const onVisibility = () => (document.hidden ? live.stop() : live.start());
    document.addEventListener('visibilitychange', onVisibility);
    return () => document.removeEventListener('visibilitychange', onVisibility);
  }, []);
  useEffect(() => {
    if (isFirst.current) isFirst.current = false;
    else {
      scrollTo(0, 0);
      main.current?.querySelector('h1')?.focus();
    }
  }, [place.kind, place.argument]);
  const { tick, state, history, connected, trouble } = live.store;
  const isReady = tick !== null && state !== null;
  return html`<a class="skip" href="#main" onClick=${(event) => {
    event.preventDefault();
    main.current.focus();
  }}>Skip to the content</a>
    <${Head} tick=${tick} state=${state} connected=${connected} />
    <main id="main" tabindex="-1" ref=${main}>
      ${!connected && html`<p class="card banner bad" role="alert">${trouble ?? 'Connecting…'}. ${isReady ? 'What is shown is what was known last.' : ''}</p>`}
      ${isReady && place.kind === 'overview' && html`<${Overview} tick=${tick} state=${state} history=${history} />`}
      ${isReady && place.kind === 'site' && html`<${SitePage} key=${place.argument} name=${place.argument} state=${state} />`}
      ${isReady && place.kind === 'find' && html`<${FindPage} key=${place.argument} sought=${place.argument} state=${state} />`}
    </main>
    <footer><p>Postilion. The same from a shell: <code>postilion top</code>, <code>postilion status</code>, <code>postilion why ID</code>.</p></footer>
    <${ActionDialog} />`;
}

document.getElementById('app').replaceChildren();
render(html`<${Page} />`, document.getElementById('app'));
