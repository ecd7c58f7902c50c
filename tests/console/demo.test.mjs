// The demo: what somebody sees who has typed one command, and a chat that works both ways.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { NARROW, WIDE, open, over } from './harness.mjs';

const ALL = ['desk', 'agent', 'care', 'voice'];
const [console, fragment] = process.env.CONSOLE.split('#');

after(over);

test('the demo shows all four, and each answers what is written', async () => {
  const { page, said, ...on } = await open({ console, fragment });
  await on.connected();
  for (const source of ALL) await page.locator(`.message.theirs[data-source=${source}]`).first().waitFor();
  for (const source of ALL) {
    const option = page.locator('#composer option', { hasText: new RegExp(`^${source}`) }).first();
    await page.getByLabel('To', { exact: true }).selectOption(await option.getAttribute('value'));
    await page.getByLabel('Message').fill(`Hello ${source}, is anybody there?`);
    await page.getByLabel('Message').press('Enter');
    await said(`Hello ${source}, is anybody there?`).waitFor();
    await said(`You wrote: Hello ${source}, is anybody there?`).waitFor();
    assert.equal(await said(`Hello ${source}, is anybody there?`).count(), 1, 'told once, not beside its echo');
  }
  await on.figure('Duplicates', 0);
  await on.figure('Gaps', 0);
  await on.close();
});

test('the demo tells in the stream why it refuses', async () => {
  const { page, ...on } = await open({ console, fragment: fragment.replace('demo-key', 'wrong') });
  await on.phase('Refused');
  await page.getByRole('alert').filter({ hasText: '401 Unauthorized' }).waitFor();
  await on.close();
});

test('it looks as it should, without barriers', async () => {
  const looks = ['light', 'dark'].flatMap((colorScheme) => [['wide', WIDE], ['narrow', NARROW]].map(([width, viewport]) => ({ colorScheme, width, viewport })));
  const pages = await Promise.all(looks.map((look) => open({ console, fragment, ...look })));
  await Promise.all(
    pages.map(async ({ page, ...on }, index) => {
      const { colorScheme, width } = looks[index];
      await page.locator('.tone-handoff').first().waitFor({ timeout: 60_000 });
      await page.locator('.message.mine').first().waitFor({ timeout: 60_000 });
      const views = width === 'narrow' ? ['Stream', 'Events', 'Chat'] : ['all'];
      for (const view of views) {
        if (width === 'narrow') await page.getByRole('navigation').getByRole('button', { name: view }).click();
        await on.shot(`demo-${colorScheme}-${width}-${view.toLowerCase()}`);
        assert.deepEqual(await on.barriers(), []);
        assert.equal(await on.isTooWide(), false);
      }
      await on.close();
    }),
  );
});
