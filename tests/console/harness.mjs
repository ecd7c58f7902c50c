// A browser, pages of it, and what the backends shall do meanwhile.

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { readFile } from 'node:fs/promises';
import { chromium } from 'playwright-core';

const { CHATMUX_CHROMIUM, CHATMUX_SHOTS, CONSOLE, CONTROL, WHO } = process.env;
/** A fact that has not come true by then never will. */
const DEADLINE_MS = 20_000;
const AXE = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

export const WIDE = { width: 1280, height: 860 };
export const NARROW = { width: 360, height: 740 };

const browser = await chromium.launch({
  executablePath: CHATMUX_CHROMIUM,
  args: [
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
    '--disable-background-networking', '--disable-component-update', '--disable-sync',
  ],
});

/** Ends the browser. */
export const over = () => browser.close();

/** Tells the other side what shall happen. */
export async function act(name, what = {}) {
  const answer = await fetch(`${CONTROL}/${name}`, { method: 'POST', body: JSON.stringify(what) });
  return answer.json();
}

/** Lets a backend say a step of a conversation. */
export const step = (source, name, text = '') => act('step', { source, step: name, text });
/** Lets a backend send a frame of its own. */
export const push = (source, event, data) => act('push', { source, event, data: JSON.stringify(data) });

/**
 * A page of the console that notes what must not happen: errors, dialogs, refused by its policy.
 * `console`: its address; `fragment`: what the link brings, as a rule all that is needed.
 */
export async function open({ console = CONSOLE, fragment = WHO, viewport = WIDE, colorScheme = 'light', bypassCSP = false } = {}) {
  const context = await browser.newContext({ viewport, colorScheme, bypassCSP, acceptDownloads: true, reducedMotion: 'reduce' });
  context.setDefaultTimeout(DEADLINE_MS);
  const page = await context.newPage();
  const bad = [];
  page.on('pageerror', (error) => bad.push(`error: ${error}`));
  page.on('dialog', (dialog) => {
    bad.push(`dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  page.on('console', (message) => {
    if (/Content Security Policy|Trusted/i.test(message.text())) bad.push(message.text());
  });
  await page.goto(fragment ? `${console}#${fragment}` : console);
  return {
    page,
    bad,
    find: (selector, options) => page.locator(selector, options),
    /** The messages that say exactly this. */
    said: (text) => page.locator('.message .text', { hasText: new RegExp(`^${escaped(text)}$`) }),
    async connected() {
      await this.phase('Connected');
      await page.waitForFunction((count) => document.querySelectorAll('.source[data-state=up]').length === count, 4);
    },
    phase: (words) => page.locator('#phase', { hasText: new RegExp(`^${escaped(words)}$`) }).waitFor(),
    /** Waits until a figure of the connection is as it should be. */
    figure: (name, wanted) =>
      page.waitForFunction(
        ([of, value]) => document.querySelector(`[data-figure="${of}"] dd`)?.textContent === value,
        [name, String(wanted)],
      ),
    figureNow: async (name) => page.locator(`[data-figure="${name}"] dd`).textContent(),
    /** Waits until so many elements are there. */
    count: (selector, wanted) =>
      page.waitForFunction(([of, count]) => document.querySelectorAll(of).length === count, [selector, wanted]),
    async shot(name) {
      await page.screenshot({ path: `${CHATMUX_SHOTS}/${name}.png` });
    },
    /** Barriers that axe finds. */
    async barriers() {
      await page.evaluate(AXE);
      const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ['violations'] }));
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => `${node.target} ${node.failureSummary}`).join('; ')}`);
    },
    /** Whether something is wider than the page. */
    isTooWide: () => page.evaluate(() => document.documentElement.scrollWidth > innerWidth || [...document.querySelectorAll('main section, .message, .note, .row')].some((one) => one.getBoundingClientRect().right > innerWidth + 1)),
    async close() {
      await context.close();
      assert.deepEqual(bad, []);
    },
  };
}

const escaped = (text) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
