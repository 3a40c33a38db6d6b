/**
 * The files of the page: ours, and the few of preact, htm and uPlot that it imports by name.
 *
 * Invariants
 * - They are read once, here; a request names one of these paths or nothing.
 * - The one inline script is the import map, which no browser takes from a file: the page's policy admits
 *   it by its digest, and no other.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { FastifyInstance } from 'fastify';

const TYPES = {
  css: 'text/css; charset=utf-8',
  html: 'text/html; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
} as const;

const PAGE_FILES = [
  'style.css',
  'icon.svg',
  'app.js',
  'actions.js',
  'chart.js',
  'charts.js',
  'format.js',
  'live.js',
  'overview.js',
  'queue.js',
  'search.js',
  'site.js',
  'smooth.js',
  'tables.js',
  'verdicts.js',
] as const;

/** Path → package and file in it; index.html's import map names the same paths. */
const LIBRARIES = {
  '/dashboard/preact.js': 'preact/dist/preact.mjs',
  '/dashboard/preact-hooks.js': 'preact/hooks/dist/hooks.mjs',
  '/dashboard/htm.js': 'htm/dist/htm.mjs',
  '/dashboard/htm-preact.js': 'htm/preact/index.mjs',
  '/dashboard/uplot.js': 'uplot/dist/uPlot.esm.js',
  '/dashboard/uplot.css': 'uplot/dist/uPlot.min.css',
} as const;

interface Asset {
  readonly type: string;
  readonly content: Buffer;
  /** Changes with the content, so that a browser asks again and again but loads once. */
  readonly etag: string;
}

/** The page itself is at "/". */
export function addAssets(scope: FastifyInstance): void {
  const page = readFileSync(new URL('page/index.html', import.meta.url));
  const policy = pagePolicy(page.toString());
  scope.get('/', (_request, reply) => {
    return reply.header('content-security-policy', policy).type(TYPES.html).send(page);
  });
  for (const [path, asset] of assets()) {
    scope.get(path, (request, reply) => {
      reply.header('cache-control', 'no-cache').header('etag', asset.etag);
      if (request.headers['if-none-match'] === asset.etag) return reply.code(304).send();
      return reply.type(asset.type).send(asset.content);
    });
  }
}

function* assets(): Generator<readonly [path: string, asset: Asset]> {
  for (const file of PAGE_FILES) {
    yield [`/dashboard/${file}`, assetAt(new URL(`page/${file}`, import.meta.url))];
  }
  for (const [path, file] of Object.entries(LIBRARIES)) yield [path, assetAt(fileOf(file))];
}

function assetAt(file: URL | string): Asset {
  const content = readFileSync(file);
  const ending = String(file).replace(/^.*\./, '').replace('mjs', 'js') as keyof typeof TYPES;
  const etag = `"${createHash('sha256').update(content).digest('base64url')}"`;
  return { type: TYPES[ending], content, etag };
}

const require = createRequire(import.meta.url);

/** Wherever npm has put the package. @param path "preact/dist/preact.mjs" */
function fileOf(path: string): string {
  const [name = ''] = path.split('/');
  for (const folder of require.resolve.paths(name) ?? []) {
    try {
      const file = `${folder}/${path}`;
      readFileSync(file);
      return file;
    } catch {
      // Not in this one.
    }
  }
  throw new Error(`${path} is missing; install the package again`);
}

const IMPORT_MAP = /<script type="importmap">([\s\S]*?)<\/script>/;

/** Scripts of ours and the import map; Trusted Types, so that no text can become markup or code. */
export function pagePolicy(page: string): string {
  const map = IMPORT_MAP.exec(page)?.[1] ?? '';
  const digest = createHash('sha256').update(map).digest('base64');
  return [
    "default-src 'none'",
    `script-src 'self' 'sha256-${digest}'`,
    "style-src 'self'",
    "connect-src 'self'",
    "img-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; ');
}
