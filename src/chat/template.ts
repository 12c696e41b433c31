/**
 * Messages -> prompt text, by the model's Jinja template, as transformers renders it. Pure string work: parsing requests is the API's, ids are the
 * tokenizer's. Rendering stays on the calling thread (0.1 to 1 ms) and is bounded (`template-interpreter.ts`), so that a template which never
 * ends is an error of its request and nothing more.
 */
import { parse, tokenize } from '@huggingface/jinja';
import { LockstepError, startError } from '../errors.js';
import { callFitter } from './call-messages.js';
import { type ContentFormat, detectContentFormat } from './content-format.js';
import { strftime } from './strftime.js';
import { TemplateInterpreter } from './template-interpreter.js';
import { range, TemplateBoundError } from './template-operators.js';
import { bool, type Call, DictValue, FunctionValue, isDict, none, Scope, str, text, toValue, type Value } from './template-values.js';

/** A part of a message's content. Only text is understood. */
export interface TextPart {
  readonly type: 'text';
  readonly text: string;
}

/** A message as the OpenAI API has it, validated; keys keep the wire's spelling, since templates read them. */
export interface ChatMessage {
  readonly role: string;
  readonly content?: string | readonly TextPart[] | null;
  readonly name?: string;
  readonly tool_calls?: readonly unknown[];
  readonly tool_call_id?: string;
  readonly [key: string]: unknown;
}

export interface RenderOptions {
  readonly addGenerationPrompt: boolean;
  /** The prompt ends with the last message's content, so that the model goes on writing it. Excludes `addGenerationPrompt`. */
  readonly continueFinalMessage: boolean;
  /** Parsed with `parseJsonKeepingNumbers`, so that a schema's 1.0 stays 1.0. */
  readonly tools?: readonly unknown[];
  readonly documents?: readonly unknown[];
  /** Further variables for the template (`chat_template_kwargs`). */
  readonly kwargs?: Readonly<Record<string, unknown>>;
}

export interface ChatTemplate {
  /** Throws `invalid_value`, with the template's own message where the template refuses the messages. */
  render(messages: readonly ChatMessage[], options: RenderOptions): string;
}

export interface TemplateTokens {
  readonly bosToken: string | null;
  readonly eosToken: string | null;
}

export interface TemplateSettings {
  /** Default: what the template's loops show. `openai` hands parts over as they are. */
  readonly contentFormat?: ContentFormat;
  /** The content of a message that has calls and none. Default: what the template can take. */
  readonly noContent?: '' | null;
  /** For `strftime_now`. */
  readonly now?: () => Date;
}

/** Parses a template. Throws a `start` error where the source is no Jinja. */
export function createChatTemplate(source: string, tokens: TemplateTokens, settings: TemplateSettings = {}): ChatTemplate {
  const program = parseTemplate(source);
  const contentFormat = settings.contentFormat ?? detectContentFormat(program);
  const now = settings.now ?? (() => new Date());
  const constants = globals(now);
  const special = { bos_token: tokens.bosToken ?? '', eos_token: tokens.eosToken ?? '' };
  const renderAlone = (given: readonly object[]) => run(program, { ...special, messages: given }, constants);
  const fitted = callFitter(renderAlone, settings.noContent);
  let takesText: boolean | null = null;
  const partsOf = (message: ChatMessage): ChatMessage => {
    if (typeof message.content !== 'string') return message;
    takesText ??= prints(renderAlone, false) || !prints(renderAlone, true);
    return takesText ? message : { ...message, content: [{ type: 'text', text: message.content }] };
  };
  return {
    render(messages, options) {
      const given = messages.map(contentFormat === 'string' ? flattenContent : partsOf).map(fitted);
      const variables = {
        ...special,
        add_generation_prompt: options.addGenerationPrompt,
        documents: options.documents ?? null,
        ...options.kwargs,
        messages: given,
        tools: options.tools ?? null,
      };
      const rendered = run(program, variables, constants);
      return options.continueFinalMessage ? cutAfterFinalMessage(rendered, given.at(-1)) : rendered;
    },
  };
}

type Program = ReturnType<typeof parse>;

function parseTemplate(source: string): Program {
  try {
    return parse(tokenize(source, { lstrip_blocks: true, trim_blocks: true }));
  } catch (cause) {
    throw startError(
      `the chat template cannot be parsed (${cause instanceof Error ? cause.message : String(cause)}); give another with --chat-template`,
      { cause },
    );
  }
}

function run(program: Program, variables: Readonly<Record<string, unknown>>, constants: ReadonlyMap<string, Value>): string {
  try {
    const scope = new Scope();
    for (const [name, value] of constants) scope.setVariable(name, value);
    for (const [name, value] of Object.entries(variables)) scope.setVariable(name, toValue(value));
    return str(new TemplateInterpreter(scope).run(program));
  } catch (cause) {
    throw templateError(cause);
  }
}

class RaisedByTemplate extends Error {}

/** What every rendering may name. Nothing in a template can change them, so one set serves all. */
function globals(now: () => Date): ReadonlyMap<string, Value> {
  const call = (name: string, body: Call): [string, Value] => [name, new FunctionValue(body)];
  const constants: [string, Value][] = [
    ['true', bool(true)],
    ['True', bool(true)],
    ['false', bool(false)],
    ['False', bool(false)],
    ['none', none],
    ['None', none],
  ];
  return new Map([
    ...constants,
    call('range', range),
    call('strftime_now', ([format]) => text(strftime(format === undefined ? '' : str(format), now()))),
    call('dict', (args) => {
      const named = args.at(-1);
      return named !== undefined && isDict(named) ? new DictValue(new Map(named.value)) : new DictValue(new Map());
    }),
    call('raise_exception', ([message]) => {
      throw new RaisedByTemplate(message === undefined ? '' : str(message));
    }),
  ]);
}

function templateError(cause: unknown): LockstepError {
  const invalid = (message: string) => new LockstepError('invalid_value', message, { param: 'messages', cause });
  if (cause instanceof RaisedByTemplate || cause instanceof TemplateBoundError) return invalid(cause.message);
  if (cause instanceof RangeError) return invalid(`the chat template goes beyond what can be run: ${cause.message}`);
  return invalid(`the chat template cannot render these messages: ${cause instanceof Error ? cause.message : String(cause)}`);
}

/** Whether a template prints a text, as it is or as a part: most that walk over parts take texts as well. */
function prints(render: (messages: readonly object[]) => string, asPart: boolean): boolean {
  const text = 'lockstep-content';
  try {
    return render([{ role: 'user', content: asPart ? [{ type: 'text', text }] : text }]).includes(text);
  } catch {
    return false;
  }
}

/** Parts become lines of one text, as vLLM joins them. */
function flattenContent(message: ChatMessage): ChatMessage {
  if (!Array.isArray(message.content)) return message;
  return { ...message, content: (message.content as readonly TextPart[]).map((part) => part.text).join('\n') };
}

/** As transformers' continue_final_message: what the template puts behind the last message's content is cut off. */
function cutAfterFinalMessage(rendered: string, message: ChatMessage | undefined): string {
  const content = typeof message?.content === 'string' ? message.content : (message?.content?.at(-1)?.text ?? '');
  const trimmed = content.trim();
  const at = rendered.lastIndexOf(trimmed);
  if (trimmed === '' || at < 0) {
    throw new LockstepError('invalid_value', 'continue_final_message needs a last message whose content the chat template prints', {
      param: 'continue_final_message',
    });
  }
  const whole = content.trimStart();
  return rendered.slice(0, at + (rendered.startsWith(whole, at) ? whole.length : trimmed.length));
}
