/** Small things that several views share. */
import type { ComponentChildren } from 'preact';

export function Button(props: {
  readonly onClick: () => void;
  readonly children: ComponentChildren;
  readonly label?: string;
  readonly kind?: 'quiet' | 'main' | 'plain';
  readonly pressed?: boolean;
  readonly disabled?: boolean;
}) {
  const { onClick, children, label, kind = 'quiet', pressed, disabled = false } = props;
  return (
    <button type="button" class={kind} onClick={onClick} aria-label={label} aria-pressed={pressed} disabled={disabled}>
      {children}
    </button>
  );
}

/** Where the browser gives no access to the clipboard (plain HTTP from afar), the text is selected instead. */
export async function copyText(text: string, element: Element): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    getSelection()?.selectAllChildren(element);
  }
}

/** Copies the code that a button of `codeBlock` stands above. */
export function copyCode(event: MouseEvent): void {
  const button = (event.target as Element).closest('[data-copy]');
  const code = button?.closest('figure')?.querySelector('code');
  if (!button || !code) return;
  void copyText(code.textContent ?? '', code);
  button.textContent = 'Copied';
  setTimeout(() => {
    button.textContent = 'Copy';
  }, 1500);
}
