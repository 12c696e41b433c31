import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ComponentChild, VNode } from 'preact';
import { renderMarkdown, safeUrl } from './markdown.js';

interface Element {
  readonly tag: string;
  readonly props: Readonly<Record<string, unknown>>;
}

/** The text that would be seen, and every element, in order. */
function seen(markdown: string): { text: string; elements: Element[] } {
  const elements: Element[] = [];
  const visit = (child: ComponentChild): string => {
    if (child === null || child === undefined || typeof child === 'boolean') return '';
    if (Array.isArray(child)) return child.map(visit).join('');
    if (typeof child !== 'object') return String(child);
    const { type, props } = child as VNode<{ children?: ComponentChild }>;
    elements.push({ tag: type as string, props: props as Element['props'] });
    return visit(props.children);
  };
  return { text: visit(renderMarkdown(markdown)), elements };
}
const tagsOf = (markdown: string) => seen(markdown).elements.map(({ tag }) => tag);

test('what Markdown has, as elements', () => {
  assert.deepEqual(tagsOf('# A\n\nb **c** _d_ `e` ~~f~~'), ['h3', 'p', 'strong', 'em', 'code', 'del']);
  assert.deepEqual(tagsOf('1. a\n2. b\n   - c'), ['ol', 'li', 'li', 'ul', 'li']);
  assert.deepEqual(tagsOf('> a\n\n---'), ['blockquote', 'p', 'hr']);
  assert.equal(seen('|a|b|\n|-|-|\n|1|2|').text, 'ab12');
  const { elements } = seen('```ts\nif (a < b && c) "x"\n```');
  assert.deepEqual(
    elements.map(({ tag }) => tag),
    ['figure', 'figcaption', 'span', 'button', 'pre', 'code'],
  );
  assert.equal(elements.at(-1)!.props['children'], 'if (a < b && c) "x"');
});

test('an answer that is being written: what is open at its end is shown', () => {
  assert.ok(tagsOf('```js\nlet a').includes('code'));
  assert.equal(seen('a **b').text, 'a **b');
});

test('characters that HTML would escape are themselves', () => {
  assert.equal(seen('a & b < c "d" \\* &amp; &lt; &#65; &nothing;').text, 'a & b < c "d" * & < A &nothing;');
});

const attacks = [
  '<script>alert(1)</script>',
  '<img src=x onerror=alert(1)>',
  'a <b onclick="alert(1)">b</b>',
  '<svg/onload=alert(1)>',
  '<iframe srcdoc="<script>alert(1)</script>"></iframe>',
  '<style>*{display:none}</style>',
  '<form action="https://evil.example"><input name=q></form>',
  '![x](https://evil.example/?leak)',
  '[a](javascript:alert(1))',
  '[a](JaVaScRiPt:alert(1))',
  '[a](&#106;avascript:alert(1))',
  '[a](\u0001javascript:alert(1))',
  '[a](data:text/html,<script>alert(1)</script>)',
  '<javascript:alert(1)>',
  '[a]: javascript:alert(1)\n\n[a]',
  '[a](vbscript:x "onmouseover=alert(1)")',
  '`<script>`alert(1)`</script>`',
  '```"><script>alert(1)</script>\nx\n```',
  '|<script>|\n|-|\n|<img src=x onerror=alert(1)>|',
];
const harmless = new Set(
  'h3 h4 h5 h6 p strong em del code pre figure figcaption span button blockquote ul ol li input hr br table thead tbody tr th td div a'.split(
    ' ',
  ),
);
const harmlessProps = new Set([
  'children',
  'class',
  'type',
  'tabIndex',
  'data-copy',
  'checked',
  'disabled',
  'start',
  'href',
  'target',
  'rel',
]);

test('nothing that a model writes becomes an element of its own, an attribute or an address that does something', () => {
  for (const attack of attacks) {
    for (const { tag, props } of seen(attack).elements) {
      assert.ok(harmless.has(tag), `${attack}: ${tag}`);
      for (const name of Object.keys(props)) assert.ok(harmlessProps.has(name), `${attack}: ${name}`);
      if (tag === 'a') assert.match(String(props['href']), /^(https?|mailto):/, attack);
    }
  }
});

test('tags are shown as the text that they are', () => {
  assert.equal(seen('<script>alert(1)</script>').text, '<script>alert(1)</script>');
  assert.equal(seen('a <b onclick="x">b</b>').text, 'a <b onclick="x">b</b>');
});

test('what is nested without end, or very long, is text in the end', () => {
  for (const deep of [
    '> '.repeat(5000),
    '- '.repeat(5000),
    `${'['.repeat(3000)}a${']('.repeat(3000)}`,
    '*a _b '.repeat(2000),
    'a'.repeat(300_000),
  ]) {
    assert.ok(renderMarkdown(deep) !== undefined);
  }
});

test('addresses', () => {
  assert.equal(safeUrl('https://example.org/a?b#c'), 'https://example.org/a?b#c');
  assert.equal(safeUrl('mailto:a@example.org'), 'mailto:a@example.org');
  for (const bad of ['/docs', 'file:///etc/passwd', 'javascript:1', 'blob:https://x/y', '', 'ftp://a'])
    assert.equal(safeUrl(bad), null, bad);
});
