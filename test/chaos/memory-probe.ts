/** Imported into a server by a test: says over the channel to its parent what its main thread holds, after a collection of garbage. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { isMainThread } from 'node:worker_threads';

export interface Held {
  readonly heapBytes: number;
  readonly rssBytes: number;
  /** Open sockets, pipes, ports, servers; without what is gone with the next turn of the loop. */
  readonly handles: readonly string[];
}

const passing = /^(Immediate|Timeout|.*Req.*)$/;

if (isMainThread && process.send !== undefined) {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  process.on('message', () => {
    collect();
    const { heapUsed, rss } = process.memoryUsage();
    const handles = process.getActiveResourcesInfo().filter((kind) => !passing.test(kind));
    process.send!({ heapBytes: heapUsed, rssBytes: rss, handles } satisfies Held);
  });
  process.channel?.unref();
}
