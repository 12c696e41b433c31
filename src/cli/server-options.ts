/** The options of `lockstep serve` -> those of its HTTP servers, as plain data: every API thread is given the same. */
import { readFileSync } from 'node:fs';
import { type ApiKey, parseKeyFile, plainKeys } from '../api/door/keys.js';
import type { TraceOptions } from '../api/door/tracing.js';
import type { TlsOptions } from '../api/exchange.js';
import type { ServerOptions } from '../api/server.js';
import { streamBufferBytesDefault } from '../api/sse.js';
import { startError } from '../errors.js';
import { createAccessLogger, createLogger, type LogLevel } from '../log.js';
import type { ServeOptions } from './options.js';

type Environment = Readonly<Record<string, string | undefined>>;

export type PlainServerOptions = Omit<ServerOptions, 'logger' | 'accessLog'> & {
  readonly logLevel: LogLevel;
  readonly accessLog: { readonly exceptPaths: readonly string[] } | null;
};

export function serverOptionsOf(options: ServeOptions, environment: Environment, version: string): PlainServerOptions {
  const { host, port, rootPath, maxBodyBytes, unknownFields, errorCodeStyle, responseRole, logLevel, apiServerCount } = options;
  return {
    ...{ host, port, rootPath, maxBodyBytes, unknownFields, errorCodeStyle, responseRole, logLevel, version },
    uds: options.uds,
    tls: tlsOf(options),
    tlsRefresh: options.enableSslRefresh,
    apiKeys: [...plainKeys(options.apiKey), ...(options.apiKeyFile === null ? [] : readKeys(options.apiKeyFile))],
    rateDefaults: options,
    requestIdHeaders: options.enableRequestIdHeaders,
    keepAliveMs: options.sseKeepAliveInterval * 1000,
    accessLog:
      options.disableUvicornAccessLog || !['debug', 'info'].includes(logLevel)
        ? null
        : { exceptPaths: options.disableAccessLogForEndpoints },
    textLog: textLog(options),
    tracing: tracingOf(options, environment),
    cors: options,
    promptTokensDetails: options.enablePromptTokensDetails,
    perRequestMetrics: options.enablePerRequestMetrics,
    forceIncludeUsage: options.enableForceIncludeUsage,
    devMode: options.serverDevMode,
    sleepMode: options.enableSleepMode,
    tokenizerInfo: options.enableTokenizerInfoEndpoint,
    page: options.page,
    docs: !options.disableFastapiDocs,
    fingerprint: options.fingerprintMode === 'custom' ? { custom: options.fingerprintValue! } : options.fingerprintMode,
    settings: withoutSecrets(options),
    backend: options.httpBackend,
    streamBufferBytesMax: streamBufferBytesDefault / apiServerCount,
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

/** With the loggers of this thread. */
export function withLoggers({ logLevel, accessLog, ...plain }: PlainServerOptions) {
  return { ...plain, logger: createLogger(logLevel), accessLog: accessLog && { ...accessLog, logger: createAccessLogger() } };
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
