/** `lockstep serve`: options -> server -> model -> ranks -> engine, and how it all ends. */
import { loadAddon } from '../addon/load.js';
import { flushMsDefault } from '../api/exchange.js';
import type { HttpServer } from '../api/server.js';
import { startEngineThread } from '../engine/early-thread.js';
import { startError } from '../errors.js';
import { createLogger, type Logger } from '../log.js';
import { startRankThreads } from '../parallel/threads.js';
import type { ApiThreads } from './api-threads.js';
import { strayVariables } from './environment.js';
import type { ServeOptions } from './options.js';
import { serverOptionsOf, withLoggers } from './server-options.js';
import type { StartedEngine } from './start-engine.js';

/** Time for the last events to leave after a fault; a supervisor waits for the process to end. No rank is waited for: one may be stuck in its GPU. */
const farewellMs = 300;
const slowLoadMs = 2000;

type Environment = Readonly<Record<string, string | undefined>>;

/** Serves until a signal or a fault ends the process. Throws a start error for what cannot be served. */
export async function serve(options: ServeOptions, environment: Environment, version: string): Promise<void> {
  const logger = createLogger(options.logLevel);
  noteStrayVariables(options, environment, logger);
  // Modules are loaded in the order in which they are waited for: threads come up meanwhile, and the port answers before the model is read.
  const threads = { ranks: startRankThreads(options.tensorParallelSize), engine: startEngineThread() };
  const serverOptions = serverOptionsOf(options, environment, version);
  // The port is taken before the routes and the model are read: it answers 503 until they are there.
  const { openPort } = await import('../api/port.js');
  const port = await openPort({ ...serverOptions, logger, sharing: options.apiServerCount > 1 ? 'first' : null });
  const { ApiThreads } = await import('./api-threads.js');
  let started: StartedEngine | null = null;
  const others = new ApiThreads(options.apiServerCount - 1, (reason) => started?.fail(reason));
  const { createServer } = await import('../api/server.js');
  const { createSharedState } = await import('../api/threads/shared-state.js');
  const shared = createSharedState(options.apiServerCount, serverOptions.apiKeys.length);
  const server = await createServer(withLoggers(serverOptions), port, { index: 0, shared, home: null });
  // What cannot be served is one line and nothing else, so this is said only where loading takes a while.
  const loading = setTimeout(() => logger.info(`listening on port ${server.port}, loading the model`), slowLoadMs);
  try {
    const { startEngine } = await import('./start-engine.js');
    others.warnOfCrowding(logger);
    started = await startEngine(options, {
      threads,
      askers: { numThreads: options.apiServerCount, numOwners: serverOptions.apiKeys.length },
      logger,
      environment,
      onFault(reason) {
        logger.error({ reason }, 'a part of the server has failed; the process ends');
        others.fail(reason);
        setTimeout(() => void others.end().then(() => loadAddon().exitNow(1)), farewellMs);
      },
    });
    const { describe } = await import('./describe-model.js');
    const [served, facts] = await Promise.all([
      describe(started, options),
      started.ready,
      others.load({ options, serverOptions, shared, started }),
    ]);
    server.setModel(served);
    await others.listen(server);
    endOnSignals(server, others, started, options.shutdownTimeout * 1000, logger);
    const isShown = process.stdout.isTTY && ['debug', 'info'].includes(options.logLevel);
    if (isShown) {
      const { lanAddress, startMessage } = await import('./start-message.js');
      const facts = { version, seconds: performance.now() / 1000, port: server.port, model: served, options, lanAddress: lanAddress() };
      process.stdout.write(startMessage(facts));
    }
    // A terminal need not say it twice; what else reads the log gets records alone.
    if (!isShown || !process.stderr.isTTY) logger.info({ model: started.model.path, ...facts }, `ready on ${placeOf(options, server)}`);
  } catch (error) {
    await Promise.all([server.close(), others.terminate()]);
    await started?.stop();
    throw error;
  } finally {
    clearTimeout(loading);
  }
}

function placeOf({ uds, sslCertfile }: ServeOptions, { port, backend }: HttpServer): string {
  const name = backend === 'uws' ? 'uWebSockets.js' : 'node:http';
  return uds ?? `port ${port} (${name}): ${sslCertfile === null ? 'http' : 'https'}://127.0.0.1:${port}/v1`;
}

function noteStrayVariables({ failOnEnvironValidation }: ServeOptions, environment: Environment, logger: Logger): void {
  const notes = strayVariables(environment);
  if (notes.length > 0 && failOnEnvironValidation) throw startError(notes.join('; '));
  for (const note of notes) logger.warn(note);
}

/** The first signal drains and ends with 0, the second ends at once. */
function endOnSignals(server: HttpServer, others: ApiThreads, started: StartedEngine, timeoutMs: number, logger: Logger): void {
  let signals = 0;
  const all = [server, others];
  const onSignal = async (signal: NodeJS.Signals) => {
    if (++signals > 1) {
      await others.end();
      process.exit(signal === 'SIGINT' ? 130 : 143);
    }
    logger.info(`${signal}: running requests are finished, new ones refused; once more to end at once`);
    const deadline = Date.now() + timeoutMs;
    const drained = await Promise.all(all.map((each) => each.drain(timeoutMs)));
    if (drained.includes(false)) logger.warn(`requests still ran after ${timeoutMs / 1000} s and were cut off`);
    const flushMs = Math.max(flushMsDefault, deadline - Date.now()); // slow readers too have the time that was asked for
    await Promise.all(all.map((each) => each.close(flushMs)));
    await started.stop();
    process.exit(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
