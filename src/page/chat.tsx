/** The view to chat: conversations beside, what was said, where to write. */
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { announcement, current, send, sendResults, stop, writing } from './chat-state.js';
import { openCalls, type ToolCall } from './conversation.js';
import { engineState, trouble } from './engine-state.js';
import { Button } from './parts.js';
import { needsKey } from './server.js';
import { Sidebar } from './sidebar.js';
import { TurnView } from './turn.js';

export function Chat() {
  return (
    <div class="chat">
      <Sidebar />
      <main id="main">
        <Turns />
        <Composer />
        <p class="hidden" role="status">
          {announcement}
        </p>
      </main>
    </div>
  );
}

/** Pixels from the end within which the view follows what is written. */
const nearEnd = 80;

function Turns() {
  const box = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  const conversation = current.value;
  const model = engineState.value?.model;
  const writes = writing.value;
  useEffect(() => {
    follows.current = true;
  }, [conversation.id, writes]);
  useEffect(() => {
    if (follows.current) box.current?.scrollTo(0, box.current.scrollHeight);
  });
  return (
    <div
      class="turns"
      ref={box}
      role="log"
      aria-label="Conversation"
      aria-live="off"
      tabIndex={0}
      onScroll={({ currentTarget: { scrollTop, scrollHeight, clientHeight } }) => {
        follows.current = scrollHeight - scrollTop - clientHeight < nearEnd;
      }}
    >
      <div class="column">
        {conversation.turns.length === 0 ? <Welcome /> : null}
        {conversation.turns.map((turn, i) => (
          <TurnView
            key={`${conversation.id}-${i}`}
            turn={turn}
            index={i}
            isBusy={writes !== null}
            isWriting={writes?.id === conversation.id && i === conversation.turns.length - 1}
            modelName={model?.name ?? 'Model'}
          />
        ))}
        {writes === null ? <Results key={conversation.turns.length} calls={openCalls(conversation)} /> : null}
      </div>
    </div>
  );
}

function Welcome() {
  const model = engineState.value?.model;
  if (needsKey.value) return null; // the question for it stands in front
  if (trouble.value !== '') return <p class="welcome">{trouble}</p>;
  if (model === undefined) return null;
  const { name, max_model_len, chats, generates } = model;
  return (
    <div class="welcome">
      <h1>{chats ? `Ask ${name}` : name}</h1>
      <p>
        {chats
          ? `A conversation may have ${max_model_len.toLocaleString('en')} tokens. It runs on this server and is kept in this browser only.`
          : generates
            ? 'This model has no chat template: it continues texts (/v1/completions) and answers no questions.'
            : 'This model gives embeddings or scores and writes no text. The engine can be watched all the same.'}
      </p>
    </div>
  );
}

/** What a tool that was called has answered is written by hand. */
function Results({ calls }: { readonly calls: readonly ToolCall[] }) {
  const texts = useSignal<Readonly<Record<string, string>>>({});
  if (calls.length === 0) return null;
  return (
    <form
      class="results"
      onSubmit={(event) => {
        event.preventDefault();
        sendResults(calls.map(({ id }) => ({ id, text: texts.value[id] ?? '' })));
      }}
    >
      {calls.map(({ id, name }) => (
        <label>
          What <code>{name}</code> answers
          <textarea onInput={({ currentTarget: { value } }) => (texts.value = { ...texts.value, [id]: value })} />
        </label>
      ))}
      <button type="submit" class="main">
        Send
      </button>
    </form>
  );
}

function Composer() {
  const text = useSignal('');
  const isBusy = writing.value !== null;
  const canChat = engineState.value?.model.chats ?? false;
  const submit = () => {
    if (isBusy || !canChat || text.value.trim() === '') return;
    send(text.value);
    text.value = '';
  };
  return (
    <form
      class="composer column"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        id="question"
        aria-label="Your message"
        placeholder="Write a message"
        rows={1}
        value={text}
        disabled={!canChat}
        onInput={(event) => (text.value = event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
          event.preventDefault();
          submit();
        }}
      />
      {isBusy ? (
        <Button kind="main" onClick={stop}>
          Stop
        </Button>
      ) : (
        <button type="submit" class="main" disabled={!canChat || text.value.trim() === ''}>
          Send
        </button>
      )}
    </form>
  );
}
