/**
 * A chart over time: uPlot for the eye, a sentence and a table of its numbers for everybody else.
 *
 * Invariant: what is drawn and what the table says come from the same columns.
 */
import { html } from 'htm/preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import uPlot from 'uplot';
import { count, timeOfDay } from './format.js';

const HEIGHT = 190;
/** Points in the table of numbers. */
const ROWS = 12;

const dark = matchMedia('(prefers-color-scheme: dark)');

/** Custom properties keep light-dark() as written; a colour in use is resolved. */
function colour(name) {
  const probe = document.createElement('i');
  probe.style.color = `var(--${name})`;
  document.body.append(probe);
  const resolved = getComputedStyle(probe).color;
  probe.remove();
  return resolved;
}

const translucent = (rgb, alpha) => rgb.replace('rgb(', 'rgba(').replace(')', `, ${alpha})`);

/** Each column on top of those before it; a gap in one is a gap in all. */
function stack(columns) {
  const sums = columns[0]?.map(() => 0) ?? [];
  return columns.map((column) =>
    column.map((value, at) => {
      if (value === null || sums[at] === null) {
        sums[at] = null;
        return null;
      }
      sums[at] += value;
      return sums[at];
    }),
  );
}

function optionsOf({ series, stacked, format, width, top, onCursor }) {
  const ink = colour('faint');
  const line = colour('line');
  const axis = { stroke: ink, font: '11px Inter, system-ui, sans-serif' };
  const grid = { stroke: line, width: 1 };
  return {
    width,
    height: HEIGHT,
    padding: [10, 6, 0, 0],
    legend: { show: false },
    cursor: { y: false, points: { size: 6 }, drag: { setScale: false }, sync: { key: 'time' } },
    scales: {
      x: { time: true },
      y: { range: (_chart, _low, high) => [0, top ?? niceTop(high)] },
    },
    axes: [
      {
        ...axis,
        grid: { show: false },
        ticks: { ...grid, size: 4 },
        size: 30,
        space: 46,
        values: axisTimes,
      },
      {
        ...axis,
        grid,
        ticks: { show: false },
        size: 46,
        space: 36,
        values: (_chart, ticks) => ticks.map((tick) => format(tick).replace('.0 %', ' %')),
      },
    ],
    series: [{}, ...series.map((one) => seriesOf(one, stacked))],
    ...(stacked
      ? { bands: series.slice(1).map((_one, at) => ({ series: [at + 2, at + 1] })) }
      : {}),
    hooks: { setCursor: [({ cursor }) => onCursor(cursor.idx ?? null)] },
  };
}

function seriesOf({ colour: name, dash, fill }, stacked) {
  const stroke = colour(name);
  // A line on top of a layer without height would paint over those below.
  if (stacked) return { width: 0, fill: translucent(stroke, 0.85), points: { show: false } };
  return {
    stroke,
    width: 1.75,
    points: { show: false },
    ...(dash ? { dash: [6, 4] } : {}),
    ...(fill ? { fill: translucent(stroke, 0.14) } : {}),
  };
}

const niceTop = (high) => (high === null || high <= 0 ? 1 : high * 1.15);

/** Seconds only where they tell ticks apart. */
function axisTimes(_chart, ticks) {
  const isWhole = ticks.length < 2 || (ticks[1] - ticks[0]) % 60 === 0;
  return ticks.map((tick) => {
    const text = timeOfDay(tick * 1000);
    return isWhole ? text.slice(0, 5) : text;
  });
}

/** Like the chart, but in words and numbers. */
function Numbers({ title, atMs, series, columns, format }) {
  const step = Math.max(1, Math.ceil(atMs.length / ROWS));
  const rows = [];
  for (let at = atMs.length - 1; at >= 0 && rows.length < ROWS; at -= step) rows.push(at);
  return html`<div class="scroll" tabindex="0" role="region" aria-label="${title}: numbers">
    <table>
      <caption class="sr-only">${title}, the newest first</caption>
      <thead><tr><th scope="col">Time</th>${series.map(({ label }) => html`<th scope="col" class="number">${label}</th>`)}</tr></thead>
      <tbody>${rows.map(
        (at) =>
          html`<tr key=${atMs[at]}><td>${timeOfDay(atMs[at])}</td>${columns.map(
            (column) => html`<td class="number">${format(column[at])}</td>`,
          )}</tr>`,
      )}</tbody>
    </table>
  </div>`;
}

/**
 * @param series [{ key, label, colour, dash, fill }], bottom first where stacked
 * @param columns one for each of the series; null is unknown
 * @param summary a sentence: what the chart shows now
 */
export function Chart({
  id,
  title,
  unit,
  atMs,
  series,
  columns,
  stacked,
  top,
  format = count,
  summary,
}) {
  const holder = useRef(null);
  const chart = useRef(null);
  const [cursor, setCursor] = useState(null);
  const [isDark, setDark] = useState(dark.matches);
  const [open, setOpen] = useState(false);
  const data = useMemo(
    () => [atMs.map((ms) => ms / 1000), ...(stacked ? stack(columns) : columns)],
    [atMs.length, atMs[atMs.length - 1], atMs[0], columns.length, columns],
  );
  const shape = series.map(({ key }) => key).join();

  useEffect(() => {
    const onScheme = () => setDark(dark.matches);
    dark.addEventListener('change', onScheme);
    return () => dark.removeEventListener('change', onScheme);
  }, []);
  useEffect(() => {
    const width = holder.current.clientWidth;
    const options = optionsOf({ series, stacked, format, top, width, onCursor: setCursor });
    chart.current = new uPlot(options, data, holder.current);
    const watch = new ResizeObserver(([{ contentRect }]) => {
      chart.current?.setSize({ width: Math.floor(contentRect.width), height: HEIGHT });
    });
    watch.observe(holder.current);
    return () => {
      watch.disconnect();
      chart.current.destroy();
      chart.current = null;
    };
  }, [shape, isDark, top]);
  useEffect(() => chart.current?.setData(data), [data]);

  const at = cursor !== null && cursor < atMs.length ? cursor : atMs.length - 1;
  return html`<figure class="card chart" id=${id} aria-labelledby="${id}-title">
    <figcaption>
      <h3 id="${id}-title">${title} ${unit && html`<small>${unit}</small>`}</h3>
      <p class="summary">${summary}</p>
    </figcaption>
    <div class="canvas" ref=${holder} role="img" aria-label="${title}. ${summary}"></div>
    ${atMs.length < 2 && html`<p class="nothing">The past begins here: give it a few seconds.</p>`}
    <ul class="legend">
      ${series.map(
        ({ key, label, colour: name, dash }, index) => html`<li key=${key}>
          <i class=${dash ? 'swatch dash' : 'swatch'} data-colour=${name}></i>${label}
          <b>${at < 0 ? '–' : format(columns[index][at])}</b>
        </li>`,
      )}
    </ul>
    <details onToggle=${(event) => setOpen(event.currentTarget.open)}>
      <summary>Numbers</summary>
      ${open && html`<${Numbers} title=${title} atMs=${atMs} series=${series} columns=${columns} format=${format} />`}
    </details>
  </figure>`;
}
