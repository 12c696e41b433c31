/** What one choice says, in order, as the APIs have it whose answers are lists of blocks: runs of reasoning and of content, and calls. */
import type { ParsedEvent } from '../parsing/event-list.js';

export type ChatItem =
  | { readonly type: 'reasoning' | 'content'; text: string }
  /** `arguments`: JSON, whole when the item has ended, unless the length cut it off. */
  | { readonly type: 'call'; readonly id: string; readonly name: string; arguments: string };

/** Told of each item in turn: one `begin`, any number of `more`, one `end`. */
export interface ItemListener {
  begin(item: ChatItem, index: number): void;
  more(item: ChatItem, index: number, piece: string): void;
  end(item: ChatItem, index: number): void;
}

export class ChatItems {
  readonly items: ChatItem[] = [];
  readonly #listener: ItemListener | null;

  constructor(listener: ItemListener | null = null) {
    this.#listener = listener;
  }

  push(events: readonly ParsedEvent[]): void {
    for (const event of events) {
      if (event.type === 'call') {
        this.#begin({ type: 'call', id: event.id, name: event.name, arguments: '' });
      } else {
        if (event.type !== 'arguments' && this.items.at(-1)?.type !== event.type) this.#begin({ type: event.type, text: '' });
        this.#more(event.text);
      }
    }
  }

  /** Nothing more comes. */
  finish(): void {
    const last = this.items.at(-1);
    if (last !== undefined) this.#listener?.end(last, this.items.length - 1);
  }

  #begin(item: ChatItem): void {
    this.finish();
    this.items.push(item);
    this.#listener?.begin(item, this.items.length - 1);
  }

  #more(piece: string): void {
    const item = this.items.at(-1)!;
    if (item.type === 'call') item.arguments += piece;
    else item.text += piece;
    this.#listener?.more(item, this.items.length - 1, piece);
  }
}
