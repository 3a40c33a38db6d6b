/** The page where one program runs alone, has no past yet, or goes away; over programs that only remember. */
import type { FastifyInstance } from 'fastify';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../../runtime/clock.ts';
import { createMtaAdmin } from '../../../sidecar/admin/mta.ts';
import { createResolverAdmin } from '../../../sidecar/admin/resolver.ts';
import { listenAt } from '../../../sidecar/admin/server.ts';
import { requirePeer } from '../../support/peers.ts';
import { CONTEXT, fakeMta, fakeResolver } from '../support/programs.ts';
import { launch, type Visit, visit } from './browser.ts';

const context = { ...CONTEXT, clock: systemClock() };

requirePeer('chromium')('the dashboard of one program', () => {
  let browser: Browser;
  let admin: FastifyInstance;
  let open: Visit;

  beforeAll(async () => {
    browser = await launch();
  });
  afterEach(async () => {
    await open.close();
    await admin.close();
  });
  afterAll(() => browser.close());

  async function show(server: FastifyInstance) {
    admin = server;
    const { port } = await listenAt(server, { address: '127.0.0.1', port: 0 });
    open = await visit(browser, `http://127.0.0.1:${port}`, { width: 1440 });
    return open.page;
  }

  test('the mta alone, in its first seconds', async () => {
    const page = await show(createMtaAdmin(fakeMta(), context));
    expect(await page.textContent('#verdict-dns .text')).toBe('No resolver runs beside this one.');
    await page.waitForSelector('#queue canvas');
    expect(await page.locator('#sources, #busiest-title').count()).toBe(0);
    expect(await page.textContent('[data-figure="waiting"] b')).toBe('1');
    expect(await page.textContent('.actions')).toContain('admin.token');
    expect(await page.locator('main button').count()).toBe(0);
    expect(open.complaints).toEqual([]);
  });

  test('the resolver alone; names that are markup are text', async () => {
    const page = await show(createResolverAdmin(fakeResolver(), context));
    expect(await page.textContent('#verdict-mail .text')).toBe('No mta runs beside this one.');
    await page.waitForSelector('#packets canvas');
    expect(await page.locator('#queue, #waiting-title').count()).toBe(0);
    expect(await page.textContent('section:has(> #busiest-title) td')).toBe(
      '<script>alert(1)</script>.example',
    );
    expect(open.complaints).toEqual([]);
  });

  test('one that was started with another, which is away', async () => {
    const supervision = { status: () => null, upgrade: () => undefined };
    const page = await show(createMtaAdmin(fakeMta(), { ...context, supervision }));
    expect(await page.textContent('#verdict-dns .text')).toBe(
      'The resolver does not answer: nothing answers at 127.0.0.1:1.',
    );
    expect(await page.getAttribute('#verdict-wrong', 'class')).toContain('bad');
    expect(open.complaints).toEqual([]);
  });

  test('a program that goes away leaves what was known, and says so', async () => {
    const page = await show(createMtaAdmin(fakeMta(), context));
    await admin.close();
    await page.waitForSelector('[role="alert"]:has-text("what was known last")');
    expect(await page.textContent('.pulse')).toBe('not connected');
    expect(await page.locator('#verdict-mail').count()).toBe(1);
  });
});
