/**
 * The fields that say which functions the model may call: tools, tool_choice, parallel_tool_calls, and their older names functions and
 * function_call. The wording is vLLM's where it has one. How calls are read and kept valid is `tool-plan.ts`'s.
 */
import { isDeepStrictEqual } from 'node:util';
import { parseJsonKeepingNumbers } from '../chat/json-numbers.js';
import { LockstepError } from '../errors.js';
import { flagOf } from './generation.js';
import type { JsonObject } from './json-object.js';
import type { ModelMarkup } from './model-markup.js';
import { toolsMax } from './request-fields.js';

/** What stands between markup in every format. */
const nameShape = /^[^\s"'`<>{}()[\]\\:]{1,128}$/;

interface GivenFunction {
  readonly name: string;
  readonly description?: string | null;
  readonly parameters?: JsonObject | null;
  readonly strict?: boolean | null;
}

interface GivenTool {
  readonly type: 'function';
  readonly function: GivenFunction;
}

export interface CallableFunction {
  readonly name: string;
  /** Of its arguments. */
  readonly schema: unknown;
  /** The field of the request that gives the schema. */
  readonly field: string;
  /** Its arguments are held to the schema even where the model is free to call. */
  readonly strict: boolean;
}

/** Who may be called, and who decides. */
export interface ToolRequest {
  readonly functions: ReadonlyMap<string, CallableFunction>;
  /** Other functions are in the prompt, but may not be called. */
  readonly isRestricted: boolean;
  /** auto: the model; required: it must call; named: it must call the only function, once. */
  readonly choice: 'auto' | 'required' | 'named';
  readonly parallel: boolean;
  /** Asked for as functions and function_call: answered as function_call. */
  readonly isLegacy: boolean;
}

type Choice =
  | { readonly kind: 'none' | 'auto' | 'required'; readonly allowed?: readonly string[] }
  | { readonly kind: 'named'; readonly name: string };

/** What the prompt shows of the tools; null: nothing. `text`: the body as it came. */
export function toolsForPrompt(body: JsonObject, text: string, { excludeToolsWhenNone }: ModelMarkup): readonly unknown[] | null {
  const tools = givenTools(body);
  if (tools === null || (excludeToolsWhenNone && choiceOf(body).kind === 'none')) return null;
  return withNumbersAsWritten(tools, text).map((tool) => {
    const { strict, ...shown } = (tool as GivenTool).function;
    return strict === undefined ? tool : { ...tool, function: shown };
  });
}

/** null: no calls. Throws for a choice that the tools or the server's flags do not allow. */
export function parseToolRequest(body: JsonObject, { toolFormat, autoToolChoice, strictTools }: ModelMarkup): ToolRequest | null {
  const tools = givenTools(body);
  const choice = choiceOf(body);
  const isLegacy = isGiven(body['functions']);
  if (tools === null) {
    if (choice.kind === 'none' || !isGiven(body['tool_choice'] ?? body['function_call'])) return null;
    throw refusal('When using `tool_choice`, `tools` must be set. (parameter=tool_choice)', 'tool_choice');
  }
  if (choice.kind === 'none') return null;
  const fieldOf = (i: number) => (isLegacy ? `functions[${i}].parameters` : `tools[${i}].function.parameters`);
  const functions = new Map(tools.map((tool, i) => [tool.function.name, callable(tool.function, fieldOf(i), strictTools)]));
  const allowed = choice.kind === 'named' ? [choice.name] : (choice.allowed ?? [...functions.keys()]);
  if (!allowed.every((name) => functions.has(name))) {
    const message = 'The tool specified in `tool_choice` does not match any of the specified `tools` (parameter=tool_choice)';
    throw refusal(message, 'tool_choice');
  }
  if (choice.kind === 'auto' && !(autoToolChoice && toolFormat !== null)) {
    throw refusal('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', null);
  }
  if (toolFormat === null) {
    const shown = choice.kind === 'named' ? `function "${choice.name}"` : '"required"';
    throw refusal(`tool_choice=${shown} requires --tool-call-parser to be set`, null);
  }
  return {
    functions: new Map(allowed.map((name) => [name, functions.get(name)!])),
    isRestricted: choice.kind !== 'named' && new Set(allowed).size < functions.size,
    choice: choice.kind,
    parallel: !isLegacy && choice.kind !== 'named' && flagOf(body, 'parallel_tool_calls', true),
    isLegacy,
  };
}

const refusal = (message: string, param: string | null) => new LockstepError('invalid_value', message, param === null ? {} : { param });
const isGiven = (value: unknown) => value !== undefined && value !== null;

function givenTools(body: JsonObject): readonly GivenTool[] | null {
  const { tools: given, functions } = body;
  if (isGiven(given) && isGiven(functions)) throw refusal('`functions` is the older name of `tools`: give one of them.', 'functions');
  const tools = isGiven(given)
    ? (given as readonly GivenTool[])
    : ((functions ?? null) as readonly GivenFunction[] | null)?.map((each) => ({ type: 'function', function: each }) as const);
  if (tools === undefined) return null;
  const field = isGiven(given) ? 'tools' : 'functions';
  if (tools.length === 0) {
    const advice = 'Either provide at least one tool or omit the field entirely.';
    throw refusal(`\`${field}\` must not be an empty array. ${advice} (parameter=${field})`, field);
  }
  if (tools.length > toolsMax) throw refusal(`\`${field}\` has ${tools.length} entries, and at most ${toolsMax} are allowed.`, field);
  for (const [i, tool] of tools.entries()) {
    const { name } = tool.function;
    if (nameShape.test(name)) continue;
    throw refusal(
      `${field}.${i}: a function's name has 1 to 128 characters, no spaces, quotes or brackets: ${JSON.stringify(name)}`,
      field,
    );
  }
  return tools;
}

/** Without a word for it the model decides, if there are tools. */
function choiceOf(body: JsonObject): Choice {
  const given = body['tool_choice'] ?? body['function_call'] ?? 'auto';
  if (typeof given === 'string') return { kind: given as 'none' | 'auto' | 'required' };
  const choice = given as {
    readonly name?: string;
    readonly function?: { readonly name: string };
    readonly allowed_tools?: {
      readonly mode: 'auto' | 'required';
      readonly tools: readonly { readonly function: { readonly name: string } }[];
    };
  };
  if (choice.allowed_tools === undefined) return { kind: 'named', name: choice.function?.name ?? choice.name! };
  return { kind: choice.allowed_tools.mode, allowed: choice.allowed_tools.tools.map((tool) => tool.function.name) };
}

/** A function without parameters takes none. */
function callable({ name, parameters, strict }: GivenFunction, field: string, strictTools: boolean): CallableFunction {
  const schema = parameters ?? { properties: {}, additionalProperties: false };
  const isTyped = ['type', '$ref', 'anyOf', 'oneOf', 'allOf'].some((key) => key in schema);
  return { name, schema: isTyped ? schema : { type: 'object', ...schema }, field, strict: strictTools || strict === true };
}

/** JSON.parse makes 1.0 and 1 one number, but they are different tokens in a prompt. */
function withNumbersAsWritten(tools: readonly GivenTool[], text: string): readonly GivenTool[] {
  if (!/\d\.0|\d[eE]/.test(text)) return tools;
  const { tools: exact } = parseJsonKeepingNumbers(text) as { readonly tools?: readonly GivenTool[] };
  return isDeepStrictEqual(JSON.parse(JSON.stringify(exact ?? null)), tools) ? exact! : tools;
}
