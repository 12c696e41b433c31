/**
 * A proxy between an application and its server, which keeps what they say. Bytes are passed on as they come, in both directions; what is
 * kept is a copy, read when the exchange is over. Each request has a connection of its own to the server, so that none is sent into one
 * that the server is about to close.
 */
import {
  type ClientRequest,
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { request as httpsRequest } from 'node:https';
import type { AddressInfo } from 'node:net';
import { startError } from '../errors.js';
import { type Answer, type Exchange, KeptBytes, readPayload, urlAt } from './exchange.js';
import { keptHeadersOf, secretsOf, withoutSecrets } from './secrets.js';

export interface RecorderSettings {
  readonly upstream: URL;
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Longer bodies pass, and are not kept. */
  readonly bodyBytesMax: number;
  /** Takes every exchange when it has ended, and the values that must not be kept of it. */
  readonly keep: (exchange: Exchange, secrets: readonly string[]) => void;
}

/** Of one connection alone (RFC 9110, 7.6.1), or settled between it and us. */
// biome-ignore format: a table
const hopHeaders = [
  'connection', 'expect', 'host', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'proxy-connection', 'te', 'trailer',
  'transfer-encoding', 'upgrade',
];

/** Longer than clients keep a connection that they do not use, so that none is closed under a request. */
const keepAliveMs = 75_000;

export class Recorder {
  private readonly server: Server;
  private readonly running = new Set<Passage>();
  private isClosing = false;
  private whenIdle = () => {};

  private constructor(private readonly settings: RecorderSettings) {
    this.server = createServer((request, response) => this.take(request, response));
    this.server.requestTimeout = 0; // an upload may take as long as the server lets it
    this.server.keepAliveTimeout = keepAliveMs;
  }

  /** Throws LockstepError `start` where it cannot listen. */
  static async start(settings: RecorderSettings): Promise<Recorder> {
    const recorder = new Recorder(settings);
    const { host, port } = settings;
    await new Promise<void>((resolve, reject) => {
      recorder.server.once('error', (error) => reject(startError(`cannot listen on ${host}:${port}: ${error.message}`, { cause: error })));
      recorder.server.listen(port, host, resolve);
    });
    return recorder;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Takes no more requests, and resolves when the running ones have ended and are kept: by themselves, or cut after `graceMs`. */
  async close(graceMs: number): Promise<void> {
    this.isClosing = true;
    this.server.close();
    this.server.closeIdleConnections();
    const idle = new Promise<void>((resolve) => {
      this.whenIdle = resolve;
      if (this.running.size === 0) resolve();
    });
    const timer = setTimeout(() => this.cut(), graceMs);
    await idle;
    clearTimeout(timer);
    this.server.closeAllConnections();
  }

  /** Ends the running exchanges now; what has come of them is kept. */
  cut(): void {
    for (const passage of this.running) passage.cut();
  }

  private take(request: IncomingMessage, response: ServerResponse): void {
    if (this.isClosing) response.setHeader('connection', 'close');
    const passage = new Passage(request, response, this.settings, () => {
      this.running.delete(passage);
      if (!this.isClosing) return;
      this.server.closeIdleConnections();
      if (this.running.size === 0) this.whenIdle();
    });
    this.running.add(passage);
    passage.begin();
  }
}

/** One exchange on its way. */
class Passage {
  private readonly begun = new Date();
  private readonly path: string;
  private readonly asked: KeptBytes;
  private readonly answered: KeptBytes;
  private forward: ClientRequest | null = null;
  private answer: IncomingMessage | null = null;
  private isKept = false;

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly settings: RecorderSettings,
    private readonly onEnd: () => void,
  ) {
    this.asked = new KeptBytes(settings.bodyBytesMax);
    this.answered = new KeptBytes(settings.bodyBytesMax);
    this.path = request.url ?? '/';
  }

  begin(): void {
    const { request, response } = this;
    response.on('close', () => {
      this.end(false); // the client has gone, unless the answer is kept already
      this.onEnd();
    });
    const url = urlAt(this.settings.upstream, this.path);
    if (url === null) {
      this.refuse(`'${this.path}' is no path`);
      return;
    }
    const send = url.protocol === 'https:' ? httpsRequest : httpRequest;
    const headers = { ...passedHeaders(request), host: url.host, ...(isChunked(request) ? { 'transfer-encoding': 'chunked' } : {}) };
    this.forward = send(url, { method: request.method ?? 'GET', headers, agent: false });
    this.forward.on('response', (answer) => this.passBack(answer));
    this.forward.on('error', (error: NodeJS.ErrnoException) => this.refuse(error.message || (error.code ?? 'it cannot be reached')));
    request.on('data', (chunk: Buffer) => this.asked.push(chunk));
    request.pipe(this.forward);
  }

  private passBack(answer: IncomingMessage): void {
    this.answer = answer;
    this.response.writeHead(answer.statusCode ?? 502, answer.statusMessage, passedHeaders(answer));
    this.response.flushHeaders();
    answer.on('data', (chunk: Buffer) => this.answered.push(chunk));
    answer.on('end', () => this.end(answer.complete));
    answer.on('error', () => this.end(false)); // in the middle: the client must see it too
    answer.pipe(this.response);
  }

  /** No answer came. Of one that has begun its own events tell the end: a server may answer before it has read the request. */
  private refuse(reason: string): void {
    if (this.isKept || this.answer !== null) return;
    const message = `lockstep record has no answer from ${this.settings.upstream.origin}: ${reason}`;
    const body = JSON.stringify({ error: { message, type: 'api_error', param: null, code: null } });
    this.response.writeHead(502, { 'content-type': 'application/json', connection: 'close' }).end(body);
    this.end(true);
  }

  /** Keeps the exchange. `isWhole`: the answer has come to its end. */
  end(isWhole: boolean): void {
    if (this.isKept) return;
    this.isKept = true;
    if (!isWhole) {
      this.forward?.destroy();
      this.response.destroy();
    }
    this.settings.keep(this.exchange(isWhole), secretsOf(this.request.headers, this.path));
  }

  cut(): void {
    this.end(false);
    this.response.destroy(); // also of an answer that is whole, but for a client that reads slowly
  }

  private exchange(isWhole: boolean): Exchange {
    const { request } = this;
    const url = urlAt(this.settings.upstream, withoutSecrets(this.path));
    const asked = request.complete
      ? readPayload(this.asked, { ...this.formOf(request), isWhole: true })
      : { bytesLeftOut: this.asked.length };
    return {
      time: this.begun.toISOString(),
      method: request.method ?? 'GET',
      path: url === null ? withoutSecrets(this.path) : url.pathname + url.search,
      headers: keptHeadersOf(request.headers),
      ...asked,
      response: this.answer === null ? null : this.kept(this.answer, isWhole),
    };
  }

  private kept(answer: IncomingMessage, isWhole: boolean): Answer {
    return {
      status: answer.statusCode ?? 0,
      contentType: answer.headers['content-type'] ?? '',
      ms: Date.now() - this.begun.getTime(),
      isWhole,
      ...readPayload(this.answered, { ...this.formOf(answer), isWhole }),
    };
  }

  private formOf({ headers }: IncomingMessage) {
    const { 'content-type': contentType = '', 'content-encoding': encoding = '' } = headers;
    return { contentType, encoding, bytesMax: this.settings.bodyBytesMax };
  }
}

const isChunked = ({ headers }: IncomingMessage) => headers['transfer-encoding'] !== undefined;

function passedHeaders({ headers }: IncomingMessage): Record<string, string | string[]> {
  const named = (headers.connection ?? '').split(',').map((name) => name.trim().toLowerCase());
  const isPassed = (name: string) => !hopHeaders.includes(name) && !named.includes(name);
  return Object.fromEntries(
    Object.entries(headers).flatMap(([name, value]) => (isPassed(name) && value !== undefined ? [[name, value]] : [])),
  );
}
