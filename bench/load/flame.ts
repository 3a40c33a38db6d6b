/**
 * Flame charts of V8's CPU profiles, as SVG: what calls what, and how much of the time goes by in it.
 *
 * Width is a share of the time that the thread was not idle. Equal callers' equal callees are one box, in
 * order of size; what would be narrower than a hair is left out.
 */

export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: {
      readonly functionName: string;
      readonly url: string;
      /** From 0. */
      readonly lineNumber: number;
    };
    readonly children?: readonly number[];
  }[];
  /** Ids of nodes, and microseconds since the sample before. */
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

export interface Frame {
  readonly name: string;
  /** Folder of ours such as "mta/smtp", or what else runs. */
  readonly area: string;
  selfMicros: number;
  totalMicros: number;
  readonly children: Map<string, Frame>;
}

const IDLE: ReadonlySet<string> = new Set(['(idle)', '(root)']);

/** Joins equal callees, leaves out idling. */
export function frameTree(profile: CpuProfile): Frame {
  const selfMicros = new Map<number, number>();
  for (const [at, id] of profile.samples.entries()) {
    selfMicros.set(id, (selfMicros.get(id) ?? 0) + profile.timeDeltas[at]!);
  }
  const nodes = new Map(profile.nodes.map((node) => [node.id, node]));
  const root = newFrame('all', 'all');
  const add = (id: number, parent: Frame): number => {
    const { callFrame, children = [] } = nodes.get(id)!;
    const { functionName, url, lineNumber } = callFrame;
    const isRoot = functionName === '(root)';
    const name = functionName === '' ? `anonymous:${lineNumber + 1}` : functionName;
    const area = areaOf(functionName, url);
    const key = `${name} ${url} ${lineNumber}`;
    const frame = isRoot ? parent : (parent.children.get(key) ?? newFrame(name, area));
    if (!isRoot) parent.children.set(key, frame);
    const own = IDLE.has(functionName) ? 0 : Math.max(0, selfMicros.get(id) ?? 0);
    let total = own;
    for (const child of children) total += add(child, frame);
    frame.selfMicros += own;
    frame.totalMicros += total;
    return total;
  };
  add(profile.nodes[0]!.id, root);
  return root;
}

const newFrame = (name: string, area: string): Frame => ({
  name,
  area,
  selfMicros: 0,
  totalMicros: 0,
  children: new Map(),
});

function areaOf(functionName: string, url: string): string {
  if (functionName === '(garbage collector)') return 'garbage collector';
  if (functionName.startsWith('(')) return 'native';
  if (url.startsWith('node:')) return 'node';
  const own = /\/((?:mta\/\w+|mta|runtime|resolver|sidecar))\/[^/]+\.ts$/.exec(url)?.[1];
  if (own !== undefined) return own;
  return url === '' ? 'native' : 'packages';
}

/** @returns self time by `keyOf`, largest first */
export function selfTimes(root: Frame, keyOf: (frame: Frame) => string): [string, number][] {
  const sums = new Map<string, number>();
  const visit = (frame: Frame): void => {
    sums.set(keyOf(frame), (sums.get(keyOf(frame)) ?? 0) + frame.selfMicros);
    for (const child of frame.children.values()) visit(child);
  };
  visit(root);
  return [...sums].sort((a, b) => b[1] - a[1]);
}

const WIDTH = 1200;
const ROW_HEIGHT = 17;
const HEAD_HEIGHT = 56;
const MARGIN = 10;
const WIDTH_MIN = 0.6;
const DEPTH_MAX = 64;
const CHARACTER_WIDTH = 6.2;
const COLOURS = [
  '#e8a33d', '#5b9bd5', '#6fb07f', '#c97b9b', '#9c86c4', '#d98b6a', '#7fb7b2', '#b8b04f',
] as const; // biome-ignore format: one row of colours
const PLAIN: Readonly<Record<string, string>> = {
  all: '#dddddd',
  node: '#c9c9c9',
  native: '#b0b0b0',
  packages: '#d4c4b0',
  'garbage collector': '#cc5555',
};

const escaped = (text: string): string =>
  text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');

export function flameSvg(title: string, root: Frame): string {
  const colours = colouring(root);
  const boxes: string[] = [];
  let deepest = 0;
  const scale = (WIDTH - 2 * MARGIN) / Math.max(root.totalMicros, 1);
  const draw = (frame: Frame, x: number, depth: number): void => {
    const width = frame.totalMicros * scale;
    if (width < WIDTH_MIN || depth > DEPTH_MAX) return;
    deepest = Math.max(deepest, depth);
    boxes.push(
      box(frame, { x, depth, width, share: frame.totalMicros / root.totalMicros, colours }),
    );
    let at = x;
    for (const child of [...frame.children.values()].sort(
      (a, b) => b.totalMicros - a.totalMicros,
    )) {
      draw(child, at, depth + 1);
      at += child.totalMicros * scale;
    }
  };
  draw(root, MARGIN, 0);
  const height = HEAD_HEIGHT + (deepest + 1) * ROW_HEIGHT + MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="monospace" font-size="10">`,
    `<rect width="${WIDTH}" height="${height}" fill="#ffffff"/>`,
    `<text x="${MARGIN}" y="20" font-family="sans-serif" font-size="15" font-weight="bold">${escaped(title)}</text>`,
    ...legend(root, colours),
    ...boxes,
    '</svg>\n',
  ].join('\n');
}

function box(
  { name, area }: Frame,
  at: { x: number; depth: number; width: number; share: number; colours: Map<string, string> },
): string {
  const { x, depth, width, share, colours } = at;
  const y = HEAD_HEIGHT + depth * ROW_HEIGHT;
  const room = Math.floor((width - 4) / CHARACTER_WIDTH);
  const label = name.length <= room ? name : room > 3 ? `${name.slice(0, room - 1)}…` : '';
  const text =
    label === '' ? '' : `<text x="${(x + 2).toFixed(1)}" y="${y + 12}">${escaped(label)}</text>`;
  const tip = `<title>${escaped(`${name} (${area}) ${(100 * share).toFixed(1)} %`)}</title>`;
  const shape = `<rect x="${x.toFixed(1)}" y="${y}" width="${width.toFixed(1)}" height="${ROW_HEIGHT - 1}" fill="${colours.get(area)}"/>`;
  return `<g>${tip}${shape}${text}</g>`;
}

/** Areas of ours get colours of their own, the largest first. */
function colouring(root: Frame): Map<string, string> {
  const colours = new Map<string, string>();
  let next = 0;
  for (const [area] of selfTimes(root, (frame) => frame.area)) {
    const plain = PLAIN[area];
    colours.set(area, plain ?? COLOURS[next++ % COLOURS.length]!);
  }
  return colours;
}

function legend(root: Frame, colours: ReadonlyMap<string, string>): string[] {
  let x = MARGIN;
  return selfTimes(root, (frame) => frame.area)
    .filter(([, micros]) => micros >= root.totalMicros / 200)
    .map(([area, micros]) => {
      const text = `${area} ${((100 * micros) / root.totalMicros).toFixed(0)} %`;
      const at = x;
      x += 22 + text.length * CHARACTER_WIDTH;
      const square = `<rect x="${at}" y="34" width="10" height="10" fill="${colours.get(area)}"/>`;
      return `${square}<text x="${at + 14}" y="43">${escaped(text)}</text>`;
    });
}
