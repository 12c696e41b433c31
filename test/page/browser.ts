/** Chromium for the tests of the page: the system's, or the one that playwright-core finds; without one they skip. */
import { existsSync } from 'node:fs';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const systemPaths = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const executablePath = [process.env['CHROMIUM_PATH'], ...systemPaths, chromium.executablePath()].find(
  (path) => path !== undefined && path !== '' && existsSync(path),
);

/** false: there is a browser. */
export const noBrowser = executablePath === undefined && 'no Chromium was found; install it, or set CHROMIUM_PATH';

export const launch = (): Promise<Browser> =>
  chromium.launch({ executablePath: executablePath!, args: ['--no-sandbox', '--disable-dev-shm-usage'] });

export interface Visit {
  readonly page: Page;
  /** What went wrong: errors of the page, of its policy, requests to elsewhere. */
  readonly faults: string[];
  /** Bodies sent to /v1/chat/completions. */
  readonly asked: Record<string, unknown>[];
  close(): Promise<void>;
}

/** A browser profile of its own on the page at `url`. */
export async function visit(browser: Browser, url: string, options: BrowserContextOptions = {}): Promise<Visit> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const faults: string[] = [];
  const asked: Visit['asked'] = [];
  page.on('pageerror', (error) => faults.push(String(error)));
  page.on('dialog', (dialog) => {
    faults.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  page.on('console', (message) => {
    // The browser itself says that an answer had another status than 200.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) faults.push(`a request to ${request.url()}`);
    if (request.url().endsWith('/v1/chat/completions')) asked.push(request.postDataJSON() as Record<string, unknown>);
  });
  await page.goto(url);
  return { page, faults, asked, close: () => context.close() };
}
