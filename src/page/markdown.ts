/**
 * Markdown -> elements of the page, never HTML: tags that a model writes are shown as the text that they are, links go only to the web and to
 * mail, pictures are links. So there is nothing to sanitise, and what is shown already stays in place while an answer grows.
 */
import { lexer, type Token, type Tokens } from 'marked';
import { type ComponentChild, h } from 'preact';

/** Longer texts are shown as they are. */
const markdownLenMax = 200_000;
/** Quotes in quotes and lists in lists; what is deeper is text. */
const depthMax = 12;

export function renderMarkdown(text: string): ComponentChild {
  if (text.length > markdownLenMax) return h('p', { class: 'plain' }, text);
  try {
    return blocks(lexer(text, { gfm: true }), 0);
  } catch {
    return h('p', { class: 'plain' }, text); // nested beyond what the parser's own recursion can do
  }
}

function blocks(tokens: readonly Token[], depth: number): ComponentChild[] {
  return tokens.map((token) => (depth > depthMax ? token.raw : block(token, depth)));
}

const headings = ['h3', 'h4', 'h5', 'h6'] as const;

function block(token: Token, depth: number): ComponentChild {
  switch (token.type) {
    case 'space':
    case 'def':
      return null;
    case 'heading':
      return h(headings[Math.min((token as Tokens.Heading).depth, headings.length) - 1]!, null, inlineOf(token, depth));
    case 'code':
      return codeBlock(token as Tokens.Code);
    case 'blockquote':
      return h('blockquote', null, blocks((token as Tokens.Blockquote).tokens, depth + 1));
    case 'list':
      return list(token as Tokens.List, depth);
    case 'table':
      return table(token as Tokens.Table, depth);
    case 'hr':
      return h('hr', null);
    case 'paragraph':
      return h('p', null, inlineOf(token, depth));
    case 'text':
      return inlineOf(token, depth); // of a list without blank lines
    case 'html':
      return h('p', { class: 'plain' }, token.raw.trimEnd());
    default:
      return inline(token, depth);
  }
}

function codeBlock({ text, lang }: Tokens.Code): ComponentChild {
  const language = lang?.split(/\s/, 1)[0] ?? '';
  return h('figure', { class: 'code' }, [
    h('figcaption', null, [h('span', null, language), h('button', { type: 'button', class: 'quiet', 'data-copy': '' }, 'Copy')]),
    h('pre', { tabIndex: 0 }, h('code', null, text)),
  ]);
}

function list({ ordered, start, items }: Tokens.List, depth: number): ComponentChild {
  const rows = items.map(({ tokens, task, checked }) =>
    h('li', null, [task ? h('input', { type: 'checkbox', checked: checked ?? false, disabled: true }) : null, blocks(tokens, depth + 1)]),
  );
  return ordered ? h('ol', { start: typeof start === 'number' ? start : 1 }, rows) : h('ul', null, rows);
}

function table({ header, rows }: Tokens.Table, depth: number): ComponentChild {
  const cells = (tag: 'th' | 'td', row: readonly Tokens.TableCell[]) =>
    h(
      'tr',
      null,
      row.map(({ tokens, align }) => h(tag, { class: align ?? undefined }, inlines(tokens, depth))),
    );
  const body = rows.map((row) => cells('td', row));
  return h('div', { class: 'scroll', tabIndex: 0 }, h('table', null, [h('thead', null, cells('th', header)), h('tbody', null, body)]));
}

const inlineOf = (token: Token, depth: number) => {
  const { tokens, text } = token as Tokens.Text;
  return tokens === undefined ? unescaped(text) : inlines(tokens, depth);
};
const inlines = (tokens: readonly Token[], depth: number): ComponentChild[] => {
  return tokens.map((token) => (depth > depthMax ? token.raw : inline(token, depth + 1)));
};

function inline(token: Token, depth: number): ComponentChild {
  switch (token.type) {
    case 'strong':
    case 'em':
    case 'del':
      return h(token.type, null, inlineOf(token, depth));
    case 'codespan':
      return h('code', null, (token as Tokens.Codespan).text);
    case 'br':
      return h('br', null);
    case 'link':
      return link((token as Tokens.Link).href, inlineOf(token, depth));
    case 'image':
      return link((token as Tokens.Image).href, (token as Tokens.Image).text || (token as Tokens.Image).href);
    case 'escape':
      return (token as Tokens.Escape).text;
    case 'text':
      return inlineOf(token, depth);
    default:
      return token.raw; // html, and whatever else there may be
  }
}

function link(href: string, content: ComponentChild): ComponentChild {
  const safe = safeUrl(href);
  return safe === null ? content : h('a', { href: safe, target: '_blank', rel: 'noopener noreferrer' }, content);
}

/** Only whole addresses of the web and of mail; null: no link. */
export function safeUrl(href: string): string | null {
  try {
    const url = new URL(href);
    return ['https:', 'http:', 'mailto:'].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: '\u00a0' };

function unescaped(text: string): string {
  return text.replace(/&(?:#(\d{1,7})|#x([\da-f]{1,6})|(\w{2,5}));/gi, (whole, decimal, hex, name) => {
    if (name !== undefined) return entities[name] ?? whole;
    const code = decimal === undefined ? Number.parseInt(hex, 16) : Number(decimal);
    return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}
