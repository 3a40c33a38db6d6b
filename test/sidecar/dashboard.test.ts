/** The dashboard's script on a page that knows text and elements only: whatever made markup would fail. */
import { afterEach, expect, test, vi } from 'vitest';
import { fakeMta, SCRIPT, WAITING } from './support/programs.ts';

class Node {
  readonly tag: string;
  children: (Node | string)[] = [];
  className = '';
  hidden = false;
  colSpan = 1;
  readonly style: Record<string, string> = {};
  readonly attributes = new Map<string, string>();
  constructor(tag: string) {
    this.tag = tag;
  }
  get textContent(): string {
    return this.children
      .map((child) => (typeof child === 'string' ? child : child.textContent))
      .join('|');
  }
  set textContent(text: string) {
    this.children = [text];
  }
  get firstChild(): Node | string | undefined {
    return this.children[0];
  }
  append(...children: (Node | string)[]): void {
    this.children.push(...children);
  }
  replaceChildren(...children: (Node | string)[]): void {
    this.children = children;
  }
  setAttribute(name: string, value: string): void {
    this.attributes.set(name, value);
  }
}

const RESOLVER = {
  unready: null,
  queries: 400,
  answers: { hot: 300, upstream: 100 },
  upstreamPackets: { sent: 100, received: 100 },
  cacheBytes: 1_048_576,
};

interface Given {
  readonly status?: object;
  readonly resolver?: object;
}

/** Loads the script once more, against these answers. @returns the page's elements by id */
async function show({ status = {}, resolver = { status: RESOLVER, reason: null } }: Given) {
  const elements = new Map<string, Node>();
  const answers: Readonly<Record<string, unknown>> = {
    '/v1/status': { version: '0.1.0', unready: null, ...(await fakeMta().status()), ...status },
    '/v1/resolver': resolver,
    '/v1/queue?limit=50': { recipients: [WAITING], next: null },
  };
  vi.useFakeTimers();
  vi.stubGlobal('document', {
    hidden: false,
    createElement: (tag: string) => new Node(tag),
    getElementById(id: string) {
      if (!elements.has(id)) elements.set(id, new Node(id));
      return elements.get(id);
    },
  });
  vi.stubGlobal('fetch', async (path: string) => ({ ok: true, json: async () => answers[path] }));
  const script = new URL('../../sidecar/dashboard/dashboard.js', import.meta.url);
  await import(/* @vite-ignore */ `${script.pathname}?${Math.random()}`);
  await vi.waitFor(() => expect(elements.get('verdict')?.className).not.toBe(''));
  return (id: string) => elements.get(id)!;
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test('all is well', async () => {
  const byId = await show({});
  expect(byId('verdict').className).toBe('good');
  expect(byId('verdict').textContent).toBe('All is well; some mail waits, see below');
  expect(byId('mail').textContent).toContain('received|1');
  expect(byId('dns').textContent).toContain('answered without asking|75.0 %');
  expect(byId('sources').attributes.get('aria-label')).toBe('hot 75.0 %, upstream 25.0 %');
  expect(byId('sites').textContent).toBe('No site has work now.');
});

test('text of strangers stays text', async () => {
  const byId = await show({});
  const [row] = byId('waiting').children as Node[];
  const cells = row!.children as Node[];
  expect(cells[1]!.children).toEqual([`${SCRIPT}@example.org`]);
  expect(cells[5]!.children).toEqual([WAITING.wait.text]);
});

test('troubles come first, in words', async () => {
  const byId = await show({
    status: { troubles: ['the disk is full'], unready: 'the disk is full' },
    resolver: { status: null, reason: 'no resolver answers at 127.0.0.1:8053' },
  });
  expect(byId('verdict').textContent).toBe('Something is wrong');
  expect(byId('troubles').textContent).toBe(
    'the disk is full|DNS: no resolver answers at 127.0.0.1:8053',
  );
  expect(byId('dns').hidden).toBe(true);
});

test('a held site says why', async () => {
  const hold = { on: 'site', text: '421 too many', sinceMs: 0, untilMs: null };
  const site = { id: 'x', alias: 'mx.example.net', domains: 2, buffered: 3, connections: 0, hold };
  const byId = await show({ status: { sites: [site] } });
  expect(byId('sites').textContent).toBe('mx.example.net|2|3|0|421 too many');
});
