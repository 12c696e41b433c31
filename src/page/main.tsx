/** The page: its head, the two views, and the question for the key. */
import { signal, useSignal } from '@preact/signals';
import { render } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { Chat } from './chat.js';
import { Engine } from './engine.js';
import { engineState, startReading } from './engine-state.js';
import { Button } from './parts.js';
import { apiKey, needsKey, useKey } from './server.js';
import { isSidebarOpen } from './sidebar.js';

const views = { chat: 'Chat', engine: 'Engine' } as const;
type View = keyof typeof views;
const viewNow = (): View => (location.hash === '#engine' ? 'engine' : 'chat');
const view = signal<View>(viewNow());
addEventListener('hashchange', () => {
  view.value = viewNow();
});

function Page() {
  return (
    <>
      <a class="skip" href={view.value === 'chat' ? '#question' : '#main'} onClick={skip}>
        Skip to the main part
      </a>
      <header class="top">
        {view.value === 'chat' ? (
          <button
            type="button"
            class="quiet menu"
            aria-controls="sidebar"
            aria-expanded={isSidebarOpen.value}
            aria-label="Conversations and parameters"
            onClick={() => (isSidebarOpen.value = !isSidebarOpen.value)}
          >
            ☰
          </button>
        ) : null}
        <span class="name">Lockstep</span>
        <span class="model">{engineState.value?.model.name}</span>
        <nav aria-label="Views">
          {(Object.keys(views) as View[]).map((name) => (
            <a key={name} href={`#${name}`} aria-current={view.value === name ? 'page' : undefined}>
              {views[name]}
            </a>
          ))}
        </nav>
        {apiKey.value === '' ? null : <Button onClick={() => useKey('')}>Forget key</Button>}
      </header>
      {view.value === 'chat' ? <Chat /> : <Engine />}
      {needsKey.value ? <KeyDialog /> : null}
    </>
  );
}

/** Moves the focus without touching the address, which names the view. */
function skip(event: MouseEvent): void {
  event.preventDefault();
  const id = (event.currentTarget as HTMLAnchorElement).hash.slice(1);
  const target = document.getElementById(id);
  if (target?.hasAttribute('tabindex') === false) target.setAttribute('tabindex', '-1');
  target?.focus();
}

function KeyDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const text = useSignal('');
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog ref={dialog} aria-labelledby="key-title" onCancel={(event) => event.preventDefault()}>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          useKey(text.value.trim());
        }}
      >
        <h1 id="key-title">This server asks for a key</h1>
        <p>{apiKey.value === '' ? 'It is kept until this tab is closed.' : 'The key was not accepted.'}</p>
        <input
          type="password"
          aria-label="API key"
          autocomplete="off"
          required
          value={text}
          onInput={(event) => (text.value = event.currentTarget.value)}
        />
        <button type="submit" class="main">
          Go on
        </button>
      </form>
    </dialog>
  );
}

startReading();
render(<Page />, document.getElementById('page')!);
