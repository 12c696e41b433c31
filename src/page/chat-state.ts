/** The conversations of this page and the one answer that is being written. */
import { computed, signal } from '@preact/signals';
import {
  answerTurn,
  type Chunk,
  type Conversation,
  grow,
  newConversation,
  requestOf,
  type Turn,
  toolTurn,
  userTurn,
} from './conversation.js';
import { engineState } from './engine-state.js';
import { eventsOf } from './events.js';
import { ask } from './server.js';
import { keepConversations, readConversations } from './storage.js';

const stored = readConversations();

/** Newest first; there is always one. */
export const conversations = signal<readonly Conversation[]>(stored.length > 0 ? stored : [newConversation(null)]);
export const currentId = signal(conversations.value[0]!.id);
export const current = computed(() => conversations.value.find(({ id }) => id === currentId.value) ?? conversations.value[0]!);
/** The conversation that an answer is being written for; null: none is. */
export const writing = signal<{ readonly id: string; readonly abort: AbortController } | null>(null);
/** For screen readers. */
export const announcement = signal('');

export function change(id: string, changes: Partial<Omit<Conversation, 'id'>>, keeps = true): void {
  conversations.value = conversations.value.map((one) => (one.id === id ? { ...one, ...changes } : one));
  if (keeps) keepConversations(conversations.value);
}

export function begin(): void {
  const empty = conversations.value.find(({ turns }) => turns.length === 0);
  const fresh = empty ?? newConversation(current.value);
  if (empty === undefined) conversations.value = [fresh, ...conversations.value];
  currentId.value = fresh.id;
}

export function remove(id: string): void {
  if (writing.value?.id === id) stop();
  const left = conversations.value.filter((one) => one.id !== id);
  conversations.value = left.length > 0 ? left : [newConversation(null)];
  if (id === currentId.value) currentId.value = conversations.value[0]!.id;
  keepConversations(conversations.value);
}

export function stop(): void {
  writing.value?.abort.abort();
}

export function send(text: string): void {
  void answer(current.value, [...current.value.turns, userTurn(text)]);
}

export function sendResults(results: readonly { readonly id: string; readonly text: string }[]): void {
  void answer(current.value, [...current.value.turns, ...results.map(({ id, text }) => toolTurn(id, text))]);
}

/** Writes the answer at `index` anew; what came after it goes. */
export function regenerate(index: number): void {
  void answer(current.value, current.value.turns.slice(0, index));
}

/** A question that is changed is asked again; an answer is what it now says. */
export function edit(index: number, content: string): void {
  const { id, turns } = current.value;
  const changed = { ...turns[index]!, content, tokens: [] };
  if (changed.role === 'user') void answer(current.value, [...turns.slice(0, index), changed]);
  else change(id, { turns: turns.with(index, changed) });
}

async function answer(conversation: Conversation, before: readonly Turn[]): Promise<void> {
  if (writing.value !== null) return;
  const { id } = conversation;
  const abort = new AbortController();
  const startMs = performance.now();
  let turn: Turn = answerTurn;
  let frame = 0;
  const show = () => {
    frame = 0;
    change(id, { turns: [...before, { ...turn, seconds: (performance.now() - startMs) / 1000 }] }, false);
  };
  writing.value = { id, abort };
  announcement.value = 'The answer is being written.';
  show();
  try {
    const model = engineState.value?.model;
    const body = requestOf({ ...conversation, turns: before }, { name: model?.name ?? '', maxLogprobs: model?.max_logprobs ?? 0 });
    const response = await ask('v1/chat/completions', body, abort.signal);
    for await (const data of eventsOf(response.body!)) {
      if (data === '[DONE]') break;
      turn = grow(turn, JSON.parse(data) as Chunk);
      frame ||= requestAnimationFrame(show); // not more often than can be seen
    }
  } catch (error) {
    const isStopped = (error as Error).name === 'AbortError';
    turn = { ...turn, ...(isStopped ? { finish: 'stopped' } : { error: (error as Error).message }) };
  } finally {
    cancelAnimationFrame(frame);
    show();
    writing.value = null;
    keepConversations(conversations.value);
    announcement.value = turn.error === null ? 'The answer is complete.' : `The answer failed: ${turn.error}`;
  }
}
