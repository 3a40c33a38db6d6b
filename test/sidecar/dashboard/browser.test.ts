/**
 * The dashboard in Debian's Chromium, over a real sidecar with real traffic. With
 * POSTILION_SCREENSHOTS=1 the pictures in docs/images are taken anew, after minutes of traffic.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readMetrics } from '../../../bench/load/metrics.ts';
import { Cleanup } from '../../support/cleanup.ts';
import {
  type LiveSidecar,
  MARKUP,
  MARKUP_NAME,
  startLiveSidecar,
  startTraffic,
  TOKEN,
} from '../../support/live-sidecar.ts';
import { requirePeer } from '../../support/peers.ts';
import { waitFor } from '../../support/process.ts';
import { launch, numberOf, type Visit, visit } from './browser.ts';

const WIDE = { width: 1440 };
const PHONE = { width: 390, height: 844 };
const PATIENCE_MS = 20_000;
const isForPictures = process.env.POSTILION_SCREENSHOTS === '1';
const PICTURE_TRAFFIC_MS = 420_000;
const PICTURES = [
  { view: { width: 1440, height: 1320 }, file: 'dashboard-1440.png' },
  { view: { width: 390, height: 1500, scheme: 'dark' }, file: 'dashboard-390.png' },
] as const;

requirePeer('chromium')('the dashboard in a browser', () => {
  const cleanup = new Cleanup();
  let browser: Browser;
  let live: LiveSidecar;
  let open: Visit;

  beforeAll(async () => {
    [live, browser] = await Promise.all([
      startLiveSidecar({ program: 'up', budget: isForPictures ? 60 : 500 }, cleanup),
      launch(),
    ]);
    cleanup.add(() => browser.close());
    await Promise.all([
      live.mail(60),
      live.mailTo(['x@grumpy.example', 'y@dead.example']),
      live.ask(300, 500),
      live.askFor([MARKUP_NAME]),
    ]);
  }, 90_000);
  afterAll(() => cleanup.run(), 60_000);

  /** One visit for each test, which must end without a complaint. */
  async function at(view: Parameters<typeof visit>[2], path = '/', base = live.postilion.mtaHttp) {
    open = await visit(browser, base, view, path);
    open.page.setDefaultTimeout(PATIENCE_MS);
    return open.page;
  }
  const done = async (): Promise<void> => {
    expect(open.complaints).toEqual([]);
    await open.close();
  };

  test.each(['mtaHttp', 'resolverHttp'] as const)(
    'what it says at %s is what /metrics says',
    async (where) => {
      const page = await at(WIDE, '/', live.postilion[where]);
      const shown = async (label: string) =>
        numberOf(await page.textContent(`[data-total="${label}"] dd`));
      let [onPage, metrics]: [object, object] = [{}, {}];
      // Retries and probes go on, so both are read until they agree.
      await waitFor(
        async () => {
          metrics = await figuresOf(live);
          onPage = {
            delivered: await shown('mail delivered'),
            received: await shown('mail received'),
            asked: await shown('lookups by the mta'),
            hot: await shown('answers hot'),
            upstream: await shown('answers upstream'),
            lookups: await shown('lookups'),
            sent: await shown('packets sent upstream'),
          };
          return JSON.stringify(onPage) === JSON.stringify(metrics);
        },
        () => `${JSON.stringify(onPage)} to be ${JSON.stringify(metrics)}`,
        PATIENCE_MS,
        200,
      );
      expect(metrics).toMatchObject({ received: 62 });
      await page.waitForSelector('#verdict-mail .text:has-text("wait")');
      await page.waitForSelector('#verdict-dns .text:has-text("within budget")');
      await page.waitForSelector('#verdict-wrong:has-text("mx.dead.example")');
      await done();
    },
  );

  test('markup in names and replies is text, and runs nothing', async () => {
    const page = await at(WIDE);
    await page.waitForSelector(`text=${MARKUP}`);
    await page.waitForSelector(`text=${MARKUP_NAME}`);
    await page.click('a:text("mx.grumpy.example")');
    await page.waitForSelector('h1:has-text("mx.grumpy.example")');
    await page.waitForSelector(`td:has-text("${MARKUP} mailbox <b>busy</b>")`);
    await page.goto(`${live.postilion.mtaHttp}/#/find/${encodeURIComponent(MARKUP)}`);
    await page.waitForSelector(`h1:has-text("${MARKUP}")`);
    expect(await page.evaluate('globalThis.owned ?? null')).toBeNull();
    expect(await page.locator('main img, main script, main b:has-text("busy")').count()).toBe(0);
    // The domain is no domain, which the program says with a refusal.
    expect(open.complaints.filter((text) => !text.includes('status of 400'))).toEqual([]);
    await open.close();
  });

  test('by keyboard alone: skip, search, read, go back', async () => {
    const page = await at(WIDE);
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).toBe('Skip to the content');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).toBe('main');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Shift+Tab');
    expect(await page.evaluate('document.activeElement.id')).toBe('sought');
    const outline = 'getComputedStyle(document.activeElement).outlineStyle';
    expect(await page.evaluate(outline)).toBe('solid');
    await page.keyboard.type('x@grumpy.example');
    await page.keyboard.press('Enter');
    await page.waitForSelector('td:has-text("x@grumpy.example")');
    // The heading gets the focus once the page has been painted.
    await page.waitForSelector('h1:focus');
    await page.keyboard.press('Shift+Tab');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#verdict-mail');
    await page.focus('#sources summary');
    await page.keyboard.press('Enter');
    await page.waitForSelector('#sources table tbody tr');
    await page.focus('input[name="span"]:checked');
    await page.keyboard.press('ArrowRight');
    expect(await page.inputValue('input[name="span"]:checked')).toBe('coarse');
    await done();
  });

  test('what eyes see, others can ask for', async () => {
    const page = await at(WIDE);
    await page.waitForSelector('#connections canvas');
    for (const landmark of ['banner', 'main', 'contentinfo', 'search'] as const) {
      expect(await page.getByRole(landmark).count(), landmark).toBe(1);
    }
    const canvases = page.locator('figure.chart [role="img"]');
    expect(await canvases.count()).toBe(6);
    for (const label of await canvases.evaluateAll(labels)) expect(label).toMatch(/\w+\. \S.*\./);
    expect(await page.locator('table:not(:has(caption))').count()).toBe(0);
    expect(await page.locator('th:not([scope])').count()).toBe(0);
    expect(await page.locator('section:not([aria-label]):not([aria-labelledby])').count()).toBe(0);
    expect(await page.textContent('[role="status"][aria-live="polite"]')).toMatch(/DNS/);
    for (const name of await page.getByRole('button').allTextContents()) {
      expect(name.trim()).not.toBe('');
    }
    await done();
  });

  test.each([
    ['the overview', '/', '#connections canvas'],
    ['a site', '/#/site/', 'h2:text("What its hosts said last")'],
    ['a domain', '/#/find/gmail.com', 'h2:text("What DNS knows of it")'],
  ])('%s fits a phone', async (_what, path, sign) => {
    const page = await at(
      PHONE,
      path.endsWith('site/') ? `${path}${await grumpySite(live)}` : path,
    );
    await page.waitForSelector(sign);
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390);
    await done();
  });

  test('dark where the system is', async () => {
    const page = await at({ ...WIDE, scheme: 'dark' });
    await page.waitForSelector('#sources canvas');
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
      'rgb(16, 19, 18)',
    );
    await page.emulateMedia({ colorScheme: 'light' });
    expect(await page.evaluate('getComputedStyle(document.body).backgroundColor')).toBe(
      'rgb(245, 246, 244)',
    );
    await done();
  });

  test.runIf(isForPictures)(
    'pictures for the documentation',
    async () => {
      const end = startTraffic(live);
      await sleep(PICTURE_TRAFFIC_MS);
      for (const { view, file } of PICTURES) {
        const page = await at(view);
        await page.waitForSelector('#connections canvas');
        await sleep(2_000);
        const path = fileURLToPath(new URL(`../../../docs/images/${file}`, import.meta.url));
        await page.screenshot({ path });
        await done();
      }
      await end();
    },
    PICTURE_TRAFFIC_MS + 120_000,
  );

  describe('actions', () => {
    const suspensions = async () => {
      const response = await fetch(`${live.postilion.mtaHttp}/v1/suspensions`);
      const body = (await response.json()) as { suspensions: { scope: string; name: string }[] };
      return body.suspensions.map(({ scope, name }) => `${scope} ${name}`);
    };

    test('each is confirmed, and asks for the token, which stays in the page', async () => {
      // From the resolver's address: the mta is asked on the page's behalf.
      const page = await at(WIDE, '/#/find/grumpy.example', live.postilion.resolverHttp);
      await page.click('button:has-text("Suspend")');
      await page.click('dialog button:text("Cancel")');
      expect(await suspensions()).toEqual([]);

      await page.click('main button:has-text("Suspend")');
      await page.fill('dialog input[type="password"]', 'wrong-wrong-wrong-wrong');
      await page.click('dialog button[type="submit"]');
      await page.waitForSelector('dialog [role="status"]:has-text("not the one")');
      expect(await suspensions()).toEqual([]);

      await page.fill('dialog input[type="password"]', TOKEN);
      await page.keyboard.press('Enter');
      await page.waitForSelector('dialog [role="status"]:has-text("Done")');
      expect(await suspensions()).toEqual(['domain grumpy.example']);
      await page.click('dialog button:text("Close")');

      // Known now, so not asked for again.
      await page.click('main button:has-text("Resume")');
      expect(await page.locator('dialog input').count()).toBe(0);
      await page.click('dialog button[type="submit"]');
      await page.waitForSelector('dialog [role="status"]:has-text("Done")');
      expect(await suspensions()).toEqual([]);
      const kept = 'JSON.stringify([localStorage, sessionStorage, location.href])';
      expect(await page.evaluate(kept)).not.toContain(TOKEN);
      await done();
    });

    test('retry counts first; kept for the tab where asked', async () => {
      const page = await at(WIDE, '/#/find/grumpy.example');
      await page.click('main button:has-text("Retry all")');
      await page.fill('dialog input[type="password"]', TOKEN);
      await page.check('dialog input[type="checkbox"]');
      await page.click('dialog button[type="submit"]');
      await page.waitForSelector('dialog [role="status"]:has-text("Done: 1 of 1")');
      expect(await page.evaluate("sessionStorage.getItem('postilion-token')")).toBe(TOKEN);
      await page.keyboard.press('Escape');
      expect(await page.locator('dialog[open]').count()).toBe(0);
      await done();
    });
  });
});

/** Its alias, as addresses have it. */
async function grumpySite({ postilion }: LiveSidecar): Promise<string> {
  const response = await fetch(`${postilion.mtaHttp}/v1/state`);
  const { changes, loads } = (await response.json()) as {
    changes: { site: string }[];
    loads: { alias: string }[];
  };
  const aliases = [...changes.map(({ site }) => site), ...loads.map(({ alias }) => alias)];
  return encodeURIComponent(aliases.find((alias) => alias.startsWith('mx.'))!);
}

const labels = (elements: readonly { getAttribute(name: string): string | null }[]): string[] =>
  elements.map((element) => element.getAttribute('aria-label') ?? '');

/** What /metrics says, as the page names it. */
async function figuresOf({ postilion }: LiveSidecar) {
  const [mta, dns] = await Promise.all([
    readMetrics(postilion.mtaHttp),
    readMetrics(postilion.resolverHttp),
  ]);
  const answers = (source: string) => dns.sum('postilion_dns_answers_total', { source });
  return {
    delivered: mta.sum('postilion_mta_messages_total', { outcome: 'delivered' }),
    received: mta.sum('postilion_mta_messages_total', { outcome: 'received' }),
    asked: mta.sum('postilion_mta_dns_queries_total'),
    hot: answers('hot'),
    upstream: answers('upstream'),
    lookups: dns.sum('postilion_dns_queries_total'),
    sent: dns.sum('postilion_dns_upstream_packets_total', { direction: 'sent' }),
  };
}
