/** `lockstep serve`: options -> server -> model -> ranks -> engine, and how it all ends. */
import { readFileSync } from 'node:fs';
import { type ApiKey, parseKeyFile, plainKeys } from '../api/door/keys.js';
import type { TraceOptions } from '../api/door/tracing.js';
import { flushMsDefault, type TlsOptions } from '../api/exchange.js';
import type { PortOptions } from '../api/port.js';
import type { HttpServer, ServerOptions } from '../api/server.js';
import { streamBufferBytesDefault } from '../api/sse.js';
import { startEngineThread } from '../engine/early-thread.js';
import { startError } from '../errors.js';
import { createAccessLogger, createLogger, type Logger } from '../log.js';
import { startRankThreads } from '../parallel/threads.js';
import { strayVariables } from './environment.js';
import type { ServeOptions } from './options.js';
import type { StartedEngine } from './start-engine.js';

/** Time for the last events to leave after a fault; a supervisor waits for the process to end. */
const farewellMs = 300;
const slowLoadMs = 2000;

type Environment = Readonly<Record<string, string | undefined>>;

/** Serves until a signal or a fault ends the process. Throws a start error for what cannot be served. */
export async function serve(options: ServeOptions, environment: Environment, version: string): Promise<void> {
  const logger = createLogger(options.logLevel);
  noteStrayVariables(options, environment, logger);
  // Modules are loaded in the order in which they are waited for: threads come up meanwhile, and the port answers before the model is read.
  const threads = { ranks: startRankThreads(options.tensorParallelSize), engine: startEngineThread() };
  const serverOptions = serverOptionsOf(options, environment, logger, version);
  const server = await listen(serverOptions);
  // What cannot be served is one line and nothing else, so this is said only where loading takes a while.
  const loading = setTimeout(() => logger.info(`listening on port ${server.port}, loading the model`), slowLoadMs);
  let started: StartedEngine | null = null;
  try {
    const { startEngine } = await import('./start-engine.js');
    started = await startEngine(options, {
      threads,
      askers: { numThreads: 1, numOwners: serverOptions.apiKeys.length },
      logger,
      environment,
      onFault(reason) {
        logger.error({ reason }, 'the engine has failed; the process ends');
        setTimeout(() => process.exit(1), farewellMs);
      },
    });
    const { describe } = await import('./describe-model.js');
    const [served, facts] = await Promise.all([describe(started, options), started.ready]);
    server.setModel(served);
    endOnSignals(server, started, options.shutdownTimeout * 1000, logger);
    const backend = server.backend === 'uws' ? 'uWebSockets.js' : 'node:http';
    const scheme = options.sslCertfile === null ? 'http' : 'https';
    const place = options.uds ?? `port ${server.port} (${backend}): ${scheme}://127.0.0.1:${server.port}/v1`;
    logger.info({ model: started.model.path, ...facts }, `ready on ${place}`);
  } catch (error) {
    await server.close();
    await started?.stop();
    throw error;
  } finally {
    clearTimeout(loading);
  }
}

function noteStrayVariables({ failOnEnvironValidation }: ServeOptions, environment: Environment, logger: Logger): void {
  const notes = strayVariables(environment);
  if (notes.length > 0 && failOnEnvironValidation) throw startError(notes.join('; '));
  for (const note of notes) logger.warn(note);
}

/** The port is taken before the routes and the model are read: it answers 503 until they are there. */
async function listen(serverOptions: ReturnType<typeof serverOptionsOf>): Promise<HttpServer> {
  const { openPort } = await import('../api/port.js');
  const port = await openPort({ ...serverOptions, sharing: null, streamBufferBytesMax: streamBufferBytesDefault });
  const { createServer } = await import('../api/server.js');
  return createServer(serverOptions, port);
}

function serverOptionsOf(
  options: ServeOptions,
  environment: Environment,
  logger: Logger,
  version: string,
): Partial<ServerOptions> & Pick<ServerOptions, 'apiKeys'> & Omit<PortOptions, 'streamBufferBytesMax' | 'sharing'> {
  const { host, port, rootPath, maxBodyBytes, unknownFields, errorCodeStyle, responseRole } = options;
  return {
    ...{ host, port, rootPath, maxBodyBytes, unknownFields, errorCodeStyle, responseRole, version, logger },
    uds: options.uds,
    tls: tlsOf(options),
    tlsRefresh: options.enableSslRefresh,
    apiKeys: [...plainKeys(options.apiKey), ...(options.apiKeyFile === null ? [] : readKeys(options.apiKeyFile))],
    rateDefaults: options,
    requestIdHeaders: options.enableRequestIdHeaders,
    keepAliveMs: options.sseKeepAliveInterval * 1000,
    accessLog: options.disableUvicornAccessLog || !['debug', 'info'].includes(options.logLevel) ? null : accessLog(options),
    textLog: textLog(options),
    tracing: tracingOf(options, environment),
    cors: options,
    promptTokensDetails: options.enablePromptTokensDetails,
    forceIncludeUsage: options.enableForceIncludeUsage,
    devMode: options.serverDevMode,
    sleepMode: options.enableSleepMode,
    tokenizerInfo: options.enableTokenizerInfoEndpoint,
    docs: !options.disableFastapiDocs,
    fingerprint: options.fingerprintMode === 'custom' ? { custom: options.fingerprintValue! } : options.fingerprintMode,
    settings: withoutSecrets(options),
    backend: options.httpBackend,
  };
}

function tlsOf({ sslKeyfile, sslCertfile, sslCaCerts, sslCertReqs, sslCiphers }: ServeOptions): TlsOptions | null {
  const refuse = (param: string, message: string): never => {
    throw startError(message, { param });
  };
  if (sslCertfile === null || sslKeyfile === null) {
    if (sslCertfile !== null) refuse('ssl-keyfile', '--ssl-certfile needs --ssl-keyfile');
    if (sslKeyfile !== null) refuse('ssl-certfile', '--ssl-keyfile needs --ssl-certfile');
    return sslCaCerts === null && sslCertReqs === 0
      ? null
      : refuse('ssl-certfile', '--ssl-ca-certs and --ssl-cert-reqs need --ssl-certfile');
  }
  if (sslCertReqs > 0 && sslCaCerts === null) refuse('ssl-ca-certs', '--ssl-cert-reqs needs --ssl-ca-certs: who signs for clients');
  const clientCertificates = sslCertReqs as TlsOptions['clientCertificates'];
  return { keyFile: sslKeyfile, certFile: sslCertfile, caFile: sslCaCerts, clientCertificates, ciphers: sslCiphers };
}

function readKeys(path: string): ApiKey[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw startError(`--api-key-file ${path} cannot be read: ${(cause as Error).message}`, { param: 'api-key-file', cause });
  }
  return parseKeyFile(text, path);
}

function accessLog({ disableAccessLogForEndpoints }: ServeOptions) {
  return { logger: createAccessLogger(), exceptPaths: disableAccessLogForEndpoints };
}

/** The variables are those of every OpenTelemetry SDK. */
function tracingOf({ otlpTracesEndpoint }: ServeOptions, environment: Environment): TraceOptions | null {
  if (otlpTracesEndpoint === null) return null;
  if (!/^https?:\/\//.test(otlpTracesEndpoint)) {
    throw startError(`--otlp-traces-endpoint must be a URL such as http://localhost:4318/v1/traces, not '${otlpTracesEndpoint}'`, {
      param: 'otlp-traces-endpoint',
    });
  }
  const pairs = (environment['OTEL_EXPORTER_OTLP_HEADERS'] ?? '').split(',').filter((pair) => pair.includes('='));
  const headers = Object.fromEntries(
    pairs.map((pair) => [pair.slice(0, pair.indexOf('=')).trim(), pair.slice(pair.indexOf('=') + 1).trim()]),
  );
  return { url: otlpTracesEndpoint, serviceName: environment['OTEL_SERVICE_NAME'] ?? 'lockstep', headers };
}

function textLog({ enableLogRequests, enableLogOutputs, maxLogLen }: ServeOptions) {
  const asked = { prompts: enableLogRequests, outputs: enableLogOutputs, lenMax: maxLogLen ?? Number.POSITIVE_INFINITY };
  return asked.prompts || asked.outputs ? asked : null;
}

/** Under the flags' names, as Python writes them. */
function withoutSecrets({ apiKey: _keys, hfToken: _token, ...rest }: ServeOptions): Readonly<Record<string, unknown>> {
  const snakeCase = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return Object.fromEntries(Object.entries(rest).map(([name, value]) => [snakeCase(name), value]));
}

/** The first signal drains and ends with 0, the second ends at once. */
function endOnSignals(server: HttpServer, started: StartedEngine, timeoutMs: number, logger: Logger): void {
  let signals = 0;
  const onSignal = async (signal: NodeJS.Signals) => {
    if (++signals > 1) process.exit(signal === 'SIGINT' ? 130 : 143);
    logger.info(`${signal}: running requests are finished, new ones refused; once more to end at once`);
    const deadline = Date.now() + timeoutMs;
    const drained = await server.drain(timeoutMs);
    if (!drained) logger.warn(`requests still ran after ${timeoutMs / 1000} s and were cut off`);
    await server.close(Math.max(flushMsDefault, deadline - Date.now())); // slow readers too have the time that was asked for
    await started.stop();
    process.exit(0);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}
