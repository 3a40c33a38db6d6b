/** The page's files: which there are, what they may do, and that every import is one of them. */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../../sidecar/admin/resolver.ts';
import { CONTEXT, fakeMta, fakeResolver } from '../support/programs.ts';

const folder = new URL('../../../sidecar/dashboard/page/', import.meta.url);
const files = readdirSync(folder);
const read = (file: string) => readFileSync(new URL(file, folder), 'utf8');

const admins = {
  mta: () => createMtaAdmin(fakeMta(), CONTEXT),
  resolver: () => createResolverAdmin(fakeResolver(), CONTEXT),
};

test.each(['mta', 'resolver'] as const)('the %s serves every file of the page', async (name) => {
  const admin = admins[name]();
  for (const file of files) {
    const url = file === 'index.html' ? '/' : `/dashboard/${file}`;
    const response = await admin.inject({ url });
    expect([file, response.statusCode, response.body]).toEqual([file, 200, read(file)]);
  }
  await admin.close();
});

test('every import is served, as a script', async () => {
  const { imports } = JSON.parse(
    /importmap">([\s\S]*?)<\/script>/.exec(read('index.html'))![1]!,
  ) as {
    imports: Record<string, string>;
  };
  const admin = admins.mta();
  const paths = new Set(Object.values(imports));
  for (const file of files.filter((name) => name.endsWith('.js'))) {
    for (const [, specifier] of read(file).matchAll(/from '([^']+)'/g)) {
      const path = imports[specifier!] ?? specifier!.replace(/^\.\//, '/dashboard/');
      expect(path.startsWith('/dashboard/'), `${file}: ${specifier}`).toBe(true);
      paths.add(path);
    }
  }
  for (const path of paths) {
    const { statusCode, headers } = await admin.inject({ url: path });
    expect([path, statusCode, headers['content-type']]).toEqual([
      path,
      200,
      'text/javascript; charset=utf-8',
    ]);
  }
  await admin.close();
});

test('the policy admits the import map by its digest, and no other inline script', async () => {
  const admin = admins.mta();
  const { headers, body } = await admin.inject({ url: '/' });
  const policy = String(headers['content-security-policy']);
  const map = /<script type="importmap">([\s\S]*?)<\/script>/.exec(body)![1]!;
  const digest = createHash('sha256').update(map).digest('base64');
  expect(policy).toContain(`script-src 'self' 'sha256-${digest}';`);
  expect(policy).toContain("require-trusted-types-for 'script'; trusted-types 'none'");
  expect(policy).toContain("frame-ancestors 'none'");
  expect(policy).not.toMatch(/unsafe|\*|https?:/);
  expect(headers).toMatchObject({
    'x-frame-options': 'DENY',
    'x-content-type-options': 'nosniff',
    'referrer-policy': 'no-referrer',
  });
  await admin.close();
});

test('the page has no inline script or style, and makes no markup of text', () => {
  const html = read('index.html').replace(/<script type="importmap">[\s\S]*?<\/script>/, '');
  expect(html.match(/<script(?![^>]*\bsrc=)|\son[a-z]+=|\sstyle=|javascript:|https?:/g)).toBe(null);
  for (const file of files.filter((name) => name.endsWith('.js'))) {
    const found = read(file).match(
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|\sstyle=|https?:/g,
    );
    expect([file, found]).toEqual([file, null]);
  }
});

test('a file that is known already is not sent again', async () => {
  const admin = admins.mta();
  const url = '/dashboard/uplot.js';
  const { headers } = await admin.inject({ url });
  expect(headers['cache-control']).toBe('no-cache');
  const again = await admin.inject({ url, headers: { 'if-none-match': String(headers.etag) } });
  expect([again.statusCode, again.body]).toEqual([304, '']);
  await admin.close();
});

test.each(['POST', 'PUT', 'DELETE'] as const)('%s of a file is refused', async (method) => {
  const admin = admins.mta();
  const response = await admin.inject({ method, url: '/dashboard/app.js' });
  expect([response.statusCode, response.headers.allow]).toEqual([405, 'GET']);
  await admin.close();
});
