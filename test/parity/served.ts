/** A server as `lockstep serve` makes it, in this process, for tests of what real models answer. */
import { createServer, type HttpServer } from '../../src/api/server.js';
import { describe } from '../../src/cli/describe-model.js';
import { loadServeOptions } from '../../src/cli/options.js';
import { startEngine } from '../../src/cli/start-engine.js';
import { silentLogger } from '../../src/log.js';

// biome-ignore lint/suspicious/noExplicitAny: answers are looked at field by field
export type Json = any;

export interface Served {
  readonly server: HttpServer;
  /** Throws for another status than 200. */
  post(path: string, body: object): Promise<Json>;
}

export async function withServed(argv: readonly string[], use: (served: Served) => Promise<void>): Promise<void> {
  const options = loadServeOptions(['--no-weight-cache', ...argv], {});
  const fail = (reason: string) => {
    throw new Error(reason);
  };
  const started = await startEngine(options, { logger: silentLogger, environment: {}, onFault: fail });
  const server = await createServer({ host: '127.0.0.1', port: 0 });
  try {
    const [model] = await Promise.all([describe(started, options), started.ready]);
    server.setModel(model);
    const post = async (path: string, body: object) => {
      const headers = { 'content-type': 'application/json' };
      const answer = await fetch(`http://127.0.0.1:${server.port}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
      const json = (await answer.json()) as Json;
      if (answer.status !== 200) throw new Error(json.error.message);
      return json;
    };
    await use({ server, post });
  } finally {
    await server.close();
    await started.stop();
  }
}
