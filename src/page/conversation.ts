/** What a conversation is, how it is asked and how an answer grows. Pure: no network, no browser. */

export interface Alternative {
  readonly text: string;
  /** Natural log. */
  readonly logprob: number;
}

export interface Token extends Alternative {
  readonly alternatives: readonly Alternative[];
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** JSON, as far as it has come. */
  readonly args: string;
}

export interface Turn {
  readonly role: 'user' | 'assistant' | 'tool';
  readonly content: string;
  readonly reasoning: string;
  readonly toolCalls: readonly ToolCall[];
  /** Which call this is the result of. */
  readonly toolCallId: string | null;
  /** Kept as long as the page is open. */
  readonly tokens: readonly Token[];
  readonly finish: string | null;
  readonly error: string | null;
  readonly seconds: number;
}

/** '' leaves a value to the server. */
export type Parameters = Readonly<Record<string, string>>;

export interface Conversation {
  readonly id: string;
  readonly system: string;
  /** Definitions in JSON; '' for none. */
  readonly tools: string;
  readonly parameters: Parameters;
  readonly turns: readonly Turn[];
}

/** Fields of the request that the page offers. */
export const parameterFields = [
  { name: 'temperature', label: 'Temperature', min: 0, max: 2, step: 0.1 },
  { name: 'top_p', label: 'Top-p', min: 0.05, max: 1, step: 0.05 },
  { name: 'top_k', label: 'Top-k', min: 0, step: 1 },
  { name: 'min_p', label: 'Min-p', min: 0, max: 1, step: 0.05 },
  { name: 'repetition_penalty', label: 'Repetition penalty', min: 0.5, max: 2, step: 0.05 },
  { name: 'max_tokens', label: 'Longest answer', min: 1, step: 1 },
  { name: 'seed', label: 'Seed', min: 0, step: 1 },
] as const;

/** Shown of each token, beside itself. */
const alternativesMax = 5;

const emptyTurn = { reasoning: '', toolCalls: [], toolCallId: null, tokens: [], finish: null, error: null, seconds: 0 };
export const userTurn = (content: string): Turn => ({ ...emptyTurn, role: 'user', content });
export const toolTurn = (toolCallId: string, content: string): Turn => ({ ...emptyTurn, role: 'tool', content, toolCallId });
export const answerTurn: Turn = { ...emptyTurn, role: 'assistant', content: '' };

export const newConversation = (like: Conversation | null): Conversation => ({
  id: `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}`,
  system: like?.system ?? '',
  tools: '',
  parameters: like?.parameters ?? {},
  turns: [],
});

export function titleOf({ turns }: Conversation): string {
  const first =
    turns
      .find(({ role }) => role === 'user')
      ?.content.trim()
      .replace(/\s+/g, ' ') ?? '';
  if (first === '') return 'Untitled';
  return first.length > 60 ? `${first.slice(0, 59)}…` : first;
}

interface ModelBounds {
  readonly name: string;
  readonly maxLogprobs: number;
}

/** The body of /v1/chat/completions. Throws where the tools are no JSON. */
export function requestOf({ system, tools, parameters, turns }: Conversation, { name, maxLogprobs }: ModelBounds): object {
  const given = Object.entries(parameters).filter(([, value]) => value !== '');
  return {
    model: name,
    messages: [...(system.trim() === '' ? [] : [{ role: 'system', content: system }]), ...turns.filter(isSaid).map(messageOf)],
    stream: true,
    ...Object.fromEntries(given.map(([field, value]) => [field, Number(value)])),
    ...(maxLogprobs > 0 && { logprobs: true, top_logprobs: Math.min(alternativesMax, maxLogprobs) }),
    ...(tools.trim() !== '' && { tools: parseTools(tools) }),
  };
}

const isSaid = ({ role, content, toolCalls }: Turn) => role !== 'assistant' || content !== '' || toolCalls.length > 0;

function messageOf({ role, content, toolCalls, toolCallId }: Turn): object {
  if (role === 'tool') return { role, content, tool_call_id: toolCallId };
  if (toolCalls.length === 0) return { role, content };
  const calls = toolCalls.map(({ id, name, args }) => ({ id, type: 'function', function: { name, arguments: args } }));
  return { role, content: content === '' ? null : content, tool_calls: calls };
}

function parseTools(text: string): unknown {
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) ? value : [value];
  } catch (error) {
    throw new Error(`The tools are not JSON: ${(error as Error).message}`);
  }
}

interface ChunkToken {
  readonly token: string;
  readonly logprob: number;
  readonly top_logprobs?: readonly { readonly token: string; readonly logprob: number }[];
}

/** As much of a chunk as is read. */
export interface Chunk {
  readonly error?: { readonly message: string };
  readonly choices?: readonly {
    readonly delta?: {
      readonly content?: string | null;
      readonly reasoning?: string | null;
      readonly reasoning_content?: string | null;
      readonly tool_calls?: readonly {
        readonly index: number;
        readonly id?: string;
        readonly function?: { readonly name?: string; readonly arguments?: string };
      }[];
    };
    readonly logprobs?: { readonly content?: readonly ChunkToken[] | null } | null;
    readonly finish_reason?: string | null;
  }[];
}

/** The answer with what a chunk adds to it. */
export function grow(turn: Turn, chunk: Chunk): Turn {
  if (chunk.error !== undefined) return { ...turn, error: chunk.error.message };
  const choice = chunk.choices?.[0];
  if (choice === undefined) return turn;
  const { content, reasoning, reasoning_content, tool_calls } = choice.delta ?? {};
  const tokens = (choice.logprobs?.content ?? []).map(({ token, logprob, top_logprobs = [] }) => ({
    text: token,
    logprob,
    alternatives: top_logprobs.map((other) => ({ text: other.token, logprob: other.logprob })),
  }));
  return {
    ...turn,
    content: turn.content + (content ?? ''),
    reasoning: turn.reasoning + (reasoning ?? reasoning_content ?? ''),
    toolCalls: tool_calls === undefined ? turn.toolCalls : withCalls(turn.toolCalls, tool_calls),
    tokens: tokens.length === 0 ? turn.tokens : [...turn.tokens, ...tokens],
    finish: choice.finish_reason ?? turn.finish,
  };
}

type CallPieces = NonNullable<NonNullable<NonNullable<Chunk['choices']>[number]['delta']>['tool_calls']>;

function withCalls(calls: readonly ToolCall[], pieces: CallPieces): ToolCall[] {
  const grown = [...calls];
  for (const { index, id, function: called } of pieces) {
    const before = grown[index] ?? { id: '', name: '', args: '' };
    grown[index] = { id: id ?? before.id, name: before.name + (called?.name ?? ''), args: before.args + (called?.arguments ?? '') };
  }
  return grown;
}

/** Calls at the end of the conversation that have no result yet. */
export function openCalls({ turns }: Conversation): readonly ToolCall[] {
  const last = turns.findLastIndex(({ role }) => role === 'assistant');
  const answered = new Set(turns.slice(last + 1).map(({ toolCallId }) => toolCallId));
  if (last < 0 || turns.slice(last + 1).some(({ role }) => role === 'user')) return [];
  return turns[last]!.toolCalls.filter(({ id }) => !answered.has(id));
}
