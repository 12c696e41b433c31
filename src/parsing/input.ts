/**
 * Text that comes in pieces, and what readers ask of it. Readers are generators: where the text at hand cannot decide, they yield, and go on
 * when there is more. What they decide follows from the text alone, never from where a piece ended.
 */

/** A reader: yields for more text, gives T. */
export type Reading<T> = Generator<void, T>;

/** A reader's end: the call was read; what stands there is none; the text ended before either was sure. */
export type Outcome = 'read' | 'not a call' | 'unfinished';

const space = /\s/;
export const isSpace = (char: string) => space.test(char);

export class Input {
  /** Nothing follows what is there. */
  ended = false;
  #text = '';
  #at = 0;
  #mark: number | null = null;

  push(text: string): void {
    const kept = this.#mark ?? this.#at;
    this.#text = this.#text.slice(kept) + text;
    this.#at -= kept;
    if (this.#mark !== null) this.#mark = 0;
  }

  /** What is there and not taken yet. */
  get rest(): string {
    return this.#text.slice(this.#at);
  }

  get available(): number {
    return this.#text.length - this.#at;
  }

  /** '' where there is none yet. */
  charAt(offset: number): string {
    return this.#text.charAt(this.#at + offset);
  }

  startsWith(text: string, offset = 0): boolean {
    return this.#text.startsWith(text, this.#at + offset);
  }

  take(count: number): string {
    const taken = this.#text.slice(this.#at, this.#at + count);
    this.#at += taken.length;
    return taken;
  }

  /** From here on text is kept, so that `back` can return to it; until `forget`. */
  mark(): void {
    this.#mark = this.#at;
  }

  get markedLen(): number {
    return this.#mark === null ? 0 : this.#at - this.#mark;
  }

  back(): void {
    this.#at = this.#mark ?? this.#at;
    this.#mark = null;
  }

  forget(): void {
    this.#mark = null;
  }
}

/** The next character, not taken; '' at the end of all text. */
export function* peek(input: Input): Reading<string> {
  while (input.available === 0) {
    if (input.ended) return '';
    yield;
  }
  return input.charAt(0);
}

export function* skipSpace(input: Input): Reading<void> {
  while (isSpace(yield* peek(input))) input.take(1);
}

/** How the text at `offset` stands to `literal`: the length that matches, -1 for none, null while it may become one. */
function matchLen(input: Input, literal: string, offset: number): number | null {
  let at = offset;
  for (let i = 0; i < literal.length; i++) {
    if (isSpace(literal.charAt(i))) {
      while (isSpace(input.charAt(at))) at++;
      if (at >= offset + input.available) return null;
      continue;
    }
    const char = input.charAt(at);
    if (char === '') return null;
    if (char !== literal.charAt(i)) return -1;
    at++;
  }
  return at - offset;
}

/** Takes `literal` if it comes next. */
export function* takeLiteral(input: Input, literal: string): Reading<boolean> {
  for (;;) {
    const length = matchLen(input, literal, 0);
    if (length !== null && length >= 0) input.take(length);
    if (length !== null) return length >= 0;
    if (input.ended) return false;
    yield;
  }
}

/** Whether one of `literals` comes next; which, or null. Takes nothing. None is the beginning of another one. */
export function* nextOf(input: Input, literals: readonly string[]): Reading<string | null> {
  for (;;) {
    let undecided = false;
    for (const literal of literals) {
      const length = matchLen(input, literal, 0);
      if (length !== null && length >= 0) return literal;
      undecided ||= length === null;
    }
    if (!undecided || input.ended) return null;
    yield;
  }
}

/** The first of `markers` in `text`, and how much of the text surely belongs to none. */
export function findMarker(text: string, markers: readonly string[]): { readonly before: number; readonly marker: string | null } {
  let before = text.length;
  let found: string | null = null;
  for (const marker of markers) {
    const at = text.indexOf(marker);
    if (at >= 0 && at < before) [before, found] = [at, marker];
  }
  return found === null ? { before: text.length - heldLen(text, markers), marker: null } : { before, marker: found };
}

/** The longest end of `text` that may begin a marker. */
function heldLen(text: string, markers: readonly string[]): number {
  let held = 0;
  for (const marker of markers) {
    const first = marker.charAt(0);
    let at = text.indexOf(first, Math.max(0, text.length - marker.length + 1));
    while (at >= 0 && text.length - at > held) {
      if (marker.startsWith(text.slice(at))) held = text.length - at;
      at = text.indexOf(first, at + 1);
    }
  }
  return held;
}
