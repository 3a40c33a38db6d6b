/** Debian's Chromium, and a page in it that notices whatever the page's policy refused. */
import { type Browser, chromium, type Page } from 'playwright-core';
import { hasProgram } from '../../support/peers.ts';

/** Root has no sandbox in a container, and /dev/shm may be small there. */
const ARGUMENTS = ['--no-sandbox', '--disable-dev-shm-usage'];
const CHROMIUM = '/usr/bin/chromium';

export function launch(): Promise<Browser> {
  if (!hasProgram('chromium')) throw new Error('apt-get install chromium');
  return chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });
}

export interface View {
  readonly width: number;
  readonly height?: number;
  readonly scheme?: 'light' | 'dark';
}

export interface Visit {
  readonly page: Page;
  /** Errors of scripts, refusals of the policy, requests to elsewhere; none is well. */
  readonly complaints: readonly string[];
  close(): Promise<void>;
}

const HEIGHT = 900;

/** Runs in the page before its own scripts. */
const REPORT_REFUSALS = `addEventListener('securitypolicyviolation', (event) => {
  console.error('policy: ' + event.violatedDirective + ' ' + event.blockedURI);
});`;

/** Opens the page and waits for its first sentences. */
export async function visit(
  browser: Browser,
  base: string,
  view: View,
  path = '/',
): Promise<Visit> {
  const { width, height = HEIGHT, scheme = 'light' } = view;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme });
  const complaints: string[] = [];
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    // Refusals that are asked for are answers, and Chromium calls them errors.
    if (message.type() === 'error' && !/status of 40[134]/.test(message.text())) {
      complaints.push(`console: ${message.text()}`);
    }
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(base)) complaints.push(`request: ${request.url()}`);
  });
  await page.addInitScript({ content: REPORT_REFUSALS });
  await page.goto(`${base}${path}`);
  await page.waitForSelector('main h1', { state: 'attached' });
  return { page, complaints, close: () => context.close() };
}

/** "1,234" → 1234 */
export const numberOf = (text: string | null): number => Number((text ?? '').replaceAll(',', ''));
