/** Reads a stream of server-sent events: of each its data. What the server sends has one `data:` line an event, and comments. */

const lineLenMax = 1 << 22;

export async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = '';
  try {
    for (;;) {
      const { value, done } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      let from = 0;
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n', from)) {
        const line = rest.slice(from, rest[end - 1] === '\r' ? end - 1 : end);
        from = end + 1;
        if (line.startsWith('data:')) yield line.slice(line[5] === ' ' ? 6 : 5);
      }
      rest = rest.slice(from);
      if (rest.length > lineLenMax) throw new Error('The server sent an event that is too long.');
      if (done) return;
    }
  } finally {
    // Not waited for: where the reader was left early, the connection ends with it.
    reader.cancel().catch(() => undefined);
  }
}
