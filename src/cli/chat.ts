/** `lockstep chat`: a conversation with a running server in the terminal, or line by line from a pipe. */
import { createInterface } from 'node:readline';
import { startError } from '../errors.js';
import { EventStream } from '../event-stream.js';
import type { ChatOptions } from './options.js';

export interface Terminal {
  readonly input: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly output: NodeJS.WritableStream & { readonly isTTY?: boolean };
}

interface Message {
  readonly role: 'system' | 'user' | 'assistant';
  readonly content: string;
}

const help = `/new            begin a new conversation
/system TEXT    begin a new conversation with this system message; without TEXT: with none
/help           this text
/exit           leave (also ^D); ^C stops an answer
`;

/** Reads lines until the input ends or /exit. Throws LockstepError `start` when no server answers. */
export async function chat(options: ChatOptions, { input, output }: Terminal): Promise<void> {
  const server = await connect(options);
  const isTerminal = Boolean(input.isTTY && output.isTTY);
  const lines = createInterface({ input, output, terminal: isTerminal, prompt: isTerminal ? '> ' : '' });
  if (isTerminal) output.write(`${server.model} at ${server.base}. /help lists the commands.\n`);
  let messages = opening(options.system);
  let answering: AbortController | null = null;
  const stop = () => {
    if (answering) answering.abort();
    else lines.close();
  };
  lines.on('SIGINT', stop); // a terminal in raw mode
  process.on('SIGINT', stop);
  let isOpen = true;
  lines.on('close', () => {
    isOpen = false;
  });
  // Lines that came before the end of the input are still read after it; Node 24 refuses a prompt then.
  const ask = () => {
    if (isTerminal && isOpen) lines.prompt();
  };
  try {
    ask();
    for await (const line of lines) {
      const [, command = '', text = ''] = /^(\/\w+)?\s*(.*)$/s.exec(line.trim()) ?? [];
      if (command === '/exit' || command === '/quit') break;
      if (command === '/help') output.write(help);
      else if (command === '/new') messages = opening(options.system);
      else if (command === '/system') messages = opening(text);
      else if (command !== '') output.write(`no such command: ${command}; /help lists them\n`);
      else if (text !== '') {
        answering = new AbortController();
        messages = await exchange(server, messages, text, (delta) => output.write(delta), answering.signal);
        answering = null;
      }
      ask();
    }
  } finally {
    process.off('SIGINT', stop);
    lines.close();
  }
}

const opening = (system: string | null): readonly Message[] => (system ? [{ role: 'system', content: system }] : []);

interface Server {
  readonly base: string;
  readonly model: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly sampling: Readonly<Record<string, number>>;
}

async function connect(options: ChatOptions): Promise<Server> {
  const base = options.url.replace(/\/+$/, '').replace(/(?<!\/v1)$/, '/v1');
  const headers: Record<string, string> = { 'content-type': 'application/json' };
  if (options.apiKey !== null) headers['authorization'] = `Bearer ${options.apiKey}`;
  const sampling = {
    ...(options.temperature === null ? {} : { temperature: options.temperature }),
    ...(options.maxTokens === null ? {} : { max_completion_tokens: options.maxTokens }),
  };
  try {
    const response = await fetch(`${base}/models`, { headers });
    if (!response.ok) throw new Error(await reasonOf(response));
    const { data } = (await response.json()) as { data: readonly { readonly id: string }[] };
    const model = options.model ?? data[0]?.id;
    if (model === undefined) throw new Error('the server names no model');
    return { base, model, headers, sampling };
  } catch (error) {
    const { message, cause } = error as Error;
    throw startError(
      `${base}: ${cause instanceof Error ? cause.message || message : message}; is a server running there? --url names another`,
    );
  }
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    return (JSON.parse(text) as { error: { message: string } }).error.message;
  } catch {
    return `status ${response.status}`;
  }
}

/** Asks, writes the answer as it comes, and returns the conversation with both; without both when the server refused. */
async function exchange(
  server: Server,
  messages: readonly Message[],
  text: string,
  write: (delta: string) => void,
  signal: AbortSignal,
): Promise<readonly Message[]> {
  const asked: readonly Message[] = [...messages, { role: 'user', content: text }];
  const body = JSON.stringify({ model: server.model, messages: asked, stream: true, ...server.sampling });
  let answer = '';
  try {
    const response = await fetch(`${server.base}/chat/completions`, { method: 'POST', headers: server.headers, body, signal });
    if (!response.ok || response.body === null) throw new Error(await reasonOf(response));
    const events = new EventStream();
    for await (const chunk of response.body) {
      for (const payload of events.push(Buffer.from(chunk as Uint8Array))) {
        const delta = deltaOf(payload);
        answer += delta;
        write(delta);
      }
    }
  } catch (error) {
    if (!signal.aborted) {
      write(`${answer === '' ? '' : '\n'}error: ${(error as Error).message}\n`);
      return messages;
    }
  }
  write('\n');
  return [...asked, { role: 'assistant', content: answer }];
}

function deltaOf(payload: string): string {
  if (payload === '[DONE]') return '';
  const chunk = JSON.parse(payload) as { choices?: { delta?: { content?: string | null } }[]; error?: { message: string } };
  if (chunk.error) throw new Error(chunk.error.message);
  return chunk.choices?.[0]?.delta?.content ?? '';
}
