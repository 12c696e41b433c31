/** How the model that is served marks calls and reasoning in its answers, as --tool-call-parser and --reasoning-parser say. */
import type { ReasoningFormat } from '../parsing/reasoning-format.js';
import type { ToolFormat } from '../parsing/tool-format.js';
import type { Tokenizer } from '../tokenizer/tokenizer.js';

export interface MarkupOptions {
  /** Unset: calls are not read, and requests that need it are refused. */
  readonly toolFormat?: ToolFormat | null;
  /** Whether the model may be left to choose to call. */
  readonly autoToolChoice?: boolean;
  /** Whether every call is held to the schema of its function. */
  readonly strictTools?: boolean;
  /** Whether a prompt lacks the tools that it may not call. */
  readonly excludeToolsWhenNone?: boolean;
  /** Unset: reasoning is content. */
  readonly reasoningFormat?: ReasoningFormat | null;
  /** What ends reasoning where its budget does, with the format's own end in it. Unset: that end alone. */
  readonly forcedReasoningEnd?: string | null;
}

export class ModelMarkup {
  readonly toolFormat: ToolFormat | null;
  readonly autoToolChoice: boolean;
  readonly strictTools: boolean;
  readonly excludeToolsWhenNone: boolean;
  readonly reasoningFormat: ReasoningFormat | null;
  readonly forcedReasoningEnd: string | null;
  readonly #tokenizer: Tokenizer;
  readonly #tokens = new Map<object, readonly number[]>();
  readonly #ids = new Map<string, number | null>();

  constructor(tokenizer: Tokenizer, options: MarkupOptions) {
    this.#tokenizer = tokenizer;
    this.toolFormat = options.toolFormat ?? null;
    this.autoToolChoice = options.autoToolChoice ?? false;
    this.strictTools = options.strictTools ?? false;
    this.excludeToolsWhenNone = options.excludeToolsWhenNone ?? false;
    this.reasoningFormat = options.reasoningFormat ?? null;
    this.forcedReasoningEnd = options.forcedReasoningEnd ?? null;
  }

  /** Special tokens that are markup of these formats, and so must reach the parser. */
  tokensOf(...formats: readonly (ToolFormat | ReasoningFormat | null)[]): ReadonlySet<number> {
    const tokens = new Set<number>();
    for (const format of formats) for (const id of format === null ? [] : this.#ofFormat(format)) tokens.add(id);
    return tokens;
  }

  /** The one token that is this text; null: it takes several. */
  tokenIdOf(text: string): number | null {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    let found: number | null = null;
    for (let id = 0; found === null && id < this.#tokenizer.vocabSize; id++) if (this.#tokenizer.tokenText(id) === text) found = id;
    this.#ids.set(text, found);
    return found;
  }

  /** Found with the first request that needs it: a walk over the vocabulary. */
  #ofFormat(format: ToolFormat | ReasoningFormat): readonly number[] {
    const known = this.#tokens.get(format);
    if (known !== undefined) return known;
    const markers = textsIn(format).join('\n');
    const found: number[] = [];
    for (let id = 0; id < this.#tokenizer.vocabSize; id++) {
      const text = this.#tokenizer.isSpecial(id) ? this.#tokenizer.tokenText(id).trim() : '';
      if (text !== '' && markers.includes(text)) found.push(id);
    }
    this.#tokens.set(format, found);
    return found;
  }
}

/** Every text in a format, however deep. */
function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}
