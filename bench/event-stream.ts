/** Server-sent events as the clients here need them: the text of `data:` lines, event by event; comments are skipped. */
import { StringDecoder } from 'node:string_decoder';

export class EventStream {
  private readonly decoder = new StringDecoder('utf8');
  private rest = '';

  /** Payloads of the events that are complete with this chunk. */
  push(chunk: Buffer): string[] {
    const text = this.rest + this.decoder.write(chunk).replaceAll('\r', '');
    const payloads: string[] = [];
    let start = 0;
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n', start)) {
      const payload = payloadOf(text.slice(start, end));
      if (payload !== null) payloads.push(payload);
      start = end + 2;
    }
    this.rest = text.slice(start);
    return payloads;
  }
}

function payloadOf(event: string): string | null {
  // Nearly every event is one line, so that it is not split.
  const lines = event.includes('\n') ? event.split('\n') : [event];
  const data = lines.filter((line) => line.startsWith('data:')).map((line) => line.slice(line[5] === ' ' ? 6 : 5));
  return data.length === 0 ? null : data.join('\n');
}
