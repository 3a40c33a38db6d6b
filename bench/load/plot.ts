/** Plots as SVG, without a library: stacked horizontal bars, and lines over a logarithmic axis. */

export interface Bar {
  readonly label: string;
  /** In the order of the series. */
  readonly values: readonly number[];
}

export interface BarPlot {
  readonly title: string;
  readonly unit: string;
  readonly series: readonly string[];
  readonly bars: readonly Bar[];
}

const COLOURS = ['#1b6ca8', '#e08e45', '#5a9367', '#8d5a97', '#b23a48', '#666666'];
const WIDTH = 760;
const LABEL_WIDTH = 210;
const VALUE_WIDTH = 90;
const ROW_HEIGHT = 26;
const HEAD_HEIGHT = 58;
const MARGIN = 12;

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

const text = (x: number, y: number, content: string, more = ''): string =>
  `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${more}>${escaped(content)}</text>`;

const rect = (x: number, y: number, width: number, height: number, colour: string): string =>
  `<rect x="${x.toFixed(1)}" y="${y.toFixed(1)}" width="${width.toFixed(1)}" height="${height}" fill="${colour}"/>`;

function frame(title: string, height: number, body: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="sans-serif" font-size="13">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    text(MARGIN, 22, title, 'font-size="16" font-weight="bold"'),
    ...body,
    '</svg>\n',
  ].join('\n');
}

function legend(series: readonly string[], y: number): string[] {
  let x = MARGIN;
  return series.flatMap((name, index) => {
    const at = x;
    x += 26 + name.length * 7.5;
    return [rect(at, y - 10, 12, 12, COLOURS[index % COLOURS.length]!), text(at + 17, y, name)];
  });
}

export function barSvg({ title, unit, series, bars }: BarPlot): string {
  const totals = bars.map(({ values }) => values.reduce((sum, value) => sum + value, 0));
  const scale = (WIDTH - LABEL_WIDTH - VALUE_WIDTH) / Math.max(...totals, Number.MIN_VALUE);
  const body = bars.flatMap(({ label, values }, row) => {
    const y = HEAD_HEIGHT + row * ROW_HEIGHT;
    let x = LABEL_WIDTH;
    const parts = values.map((value, index) => {
      const at = x;
      x += value * scale;
      return rect(at, y, value * scale, ROW_HEIGHT - 8, COLOURS[index % COLOURS.length]!);
    });
    const total = `${Number(totals[row]!.toPrecision(3))} ${unit}`;
    return [text(MARGIN, y + 14, label), ...parts, text(x + 6, y + 14, total)];
  });
  const height = HEAD_HEIGHT + bars.length * ROW_HEIGHT + MARGIN;
  return frame(title, height, [...legend(series, 44), ...body]);
}

export interface Line {
  readonly label: string;
  /** x > 0 */
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

export interface LinePlot {
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly lines: readonly Line[];
}

const PLOT_HEIGHT = 260;
const AXIS_WIDTH = 70;

/** x on a logarithmic axis, y from 0 on a linear one. */
export function lineSvg({ title, xLabel, yLabel, lines }: LinePlot): string {
  const points = lines.flatMap((line) => line.points);
  const [xLow, xHigh] = [
    Math.min(...points.map(({ x }) => x)),
    Math.max(...points.map(({ x }) => x)),
  ];
  const yHigh = Math.max(...points.map(({ y }) => y), Number.MIN_VALUE);
  const width = WIDTH - AXIS_WIDTH - 2 * MARGIN;
  const xSpan = Math.log(xHigh / xLow) || 1;
  const xAt = (x: number): number => AXIS_WIDTH + (Math.log(x / xLow) / xSpan) * width;
  const yAt = (y: number): number => HEAD_HEIGHT + PLOT_HEIGHT * (1 - y / yHigh);
  const bottom = HEAD_HEIGHT + PLOT_HEIGHT;
  const body = lines.flatMap(({ points: own }, index) => {
    const colour = COLOURS[index % COLOURS.length]!;
    const path = own.map(({ x, y }) => `${xAt(x).toFixed(1)},${yAt(y).toFixed(1)}`);
    return [
      `<polyline points="${path.join(' ')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      ...path.map((at) => {
        const [cx, cy] = at.split(',');
        return `<circle cx="${cx}" cy="${cy}" r="3" fill="${colour}"/>`;
      }),
    ];
  });
  const ticks = [...new Set(points.map(({ x }) => x))].map((x) =>
    text(xAt(x), bottom + 18, x.toLocaleString('en-US'), 'text-anchor="middle"'),
  );
  return frame(title, bottom + 48, [
    ...legend(
      lines.map(({ label }) => label),
      44,
    ),
    `<path d="M${AXIS_WIDTH} ${HEAD_HEIGHT}V${bottom}H${WIDTH - MARGIN}" fill="none" stroke="#333333"/>`,
    text(AXIS_WIDTH - 6, HEAD_HEIGHT + 10, `${Number(yHigh.toPrecision(3))}`, 'text-anchor="end"'),
    text(AXIS_WIDTH - 6, bottom, '0', 'text-anchor="end"'),
    text(MARGIN, HEAD_HEIGHT + 30, yLabel, 'font-size="11"'),
    ...ticks,
    text(WIDTH - MARGIN, bottom + 38, xLabel, 'text-anchor="end"'),
    ...body,
  ]);
}
