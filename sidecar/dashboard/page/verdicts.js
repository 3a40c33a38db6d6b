/** The three sentences at the top, as the program wrote them; changes of level are announced once. */
import { html } from 'htm/preact';
import { useEffect, useState } from 'preact/hooks';
import { visible } from './format.js';

const QUESTIONS = [
  ['mail', 'Is mail flowing?'],
  ['dns', 'Is DNS within budget?'],
  ['wrong', 'What is wrong?'],
];

/** For eyes that do not tell colours apart, and for ears. */
const MARKS = {
  good: ['✓', 'Good'],
  warn: ['!', 'Look'],
  bad: ['✕', 'Bad'],
  none: ['–', 'Unknown'],
};

export function Verdicts({ verdicts }) {
  return html`<section class="verdicts" aria-label="How it stands">
    ${QUESTIONS.map(([key, question]) => html`<${Verdict} key=${key} id=${key} question=${question} verdict=${verdicts[key]} />`)}
    <${Announcer} verdicts=${verdicts} />
  </section>`;
}

function Verdict({ id, question, verdict }) {
  const { level, text, next, troubles = [] } = verdict;
  const [mark, word] = MARKS[level];
  return html`<article class="card verdict ${level}" id="verdict-${id}">
    <h2><span class="mark" aria-hidden="true">${mark}</span>${question} <span class="sr-only">${word}.</span></h2>
    <p class="text">${visible(text)}</p>
    <p class="next">${visible(next)}</p>
    ${
      troubles.length > 1 &&
      html`<details><summary>All ${troubles.length}</summary><ul class="troubles">
        ${troubles.map((one) => html`<li key=${one.text} class=${one.level}>${visible(one.text)}<br /><span class="next">${visible(one.next)}</span></li>`)}
      </ul></details>`
    }
  </article>`;
}

/** A number that changes each second is no news; another level is. */
function Announcer({ verdicts }) {
  const levels = QUESTIONS.map(([key]) => verdicts[key].level).join();
  const [said, setSaid] = useState('');
  useEffect(() => {
    setSaid(QUESTIONS.map(([key]) => visible(verdicts[key].text)).join(' '));
  }, [levels]);
  return html`<p class="sr-only" role="status" aria-live="polite">${said}</p>`;
}
