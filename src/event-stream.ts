/** Server-sent events as the clients here need them: the names and the `data:` lines, event by event; comments are skipped. */
import { StringDecoder } from 'node:string_decoder';

export interface StreamEvent {
  /** Of its `event:` line; null: it has none. */
  readonly name: string | null;
  readonly data: string;
}

export class EventStream {
  private readonly decoder = new StringDecoder('utf8');
  private rest = '';

  /** Payloads of the events that are complete with this chunk. */
  push(chunk: Buffer): string[] {
    return this.pushEvents(chunk).map(({ data }) => data);
  }

  /** The same with their names. */
  pushEvents(chunk: Buffer): StreamEvent[] {
    const text = this.rest + this.decoder.write(chunk).replaceAll('\r', '');
    const events: StreamEvent[] = [];
    let start = 0;
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n', start)) {
      const event = eventOf(text.slice(start, end));
      if (event !== null) events.push(event);
      start = end + 2;
    }
    this.rest = text.slice(start);
    return events;
  }
}

function eventOf(text: string): StreamEvent | null {
  // Nearly every event is one line, so that it is not split.
  const lines = text.includes('\n') ? text.split('\n') : [text];
  const valuesOf = (field: string) =>
    lines.filter((line) => line.startsWith(field)).map((line) => line.slice(field.length + (line[field.length] === ' ' ? 1 : 0)));
  const data = valuesOf('data:');
  return data.length === 0 ? null : { name: valuesOf('event:')[0] ?? null, data: data.join('\n') };
}
