/** An API thread's way to the home thread: asks it for what only that has. */
import type { MessagePort } from 'node:worker_threads';
import type { ChatMessage } from '../../chat/template.js';
import type { CompiledGrammar } from '../../grammar/compiled.js';
import type { GrammarSpec } from '../../grammar/spec.js';
import { DetachedExchange } from '../detached-exchange.js';
import type { Exchange } from '../exchange.js';
import type { PoolTask, PreparedPrompt, PromptPool } from '../prepare.js';
import type { Maker, Responses } from '../responses/keeper.js';
import type { KeptResponse } from '../responses/store.js';
import { type CallName, type Calls, errorOf, type FromHome, type ToHome } from './messages.js';

interface Waiting {
  readonly resolve: (value: never) => void;
  readonly reject: (error: Error) => void;
}

export class HomeLink implements Responses, PromptPool {
  readonly #port: MessagePort;
  readonly #calls = new Map<number, Waiting>();
  /** Exchanges that the home thread answers. */
  readonly #asked = new Map<number, Exchange>();
  readonly #makers = new Map<number, DetachedExchange>();
  /** Of all three. */
  #numbers = 0;

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (message: FromHome) => this.#take(message));
  }

  prepare(task: PoolTask): Promise<PreparedPrompt> {
    return this.#call('prepare', task);
  }

  compile(spec: GrammarSpec): Promise<CompiledGrammar> {
    return this.#call('compile', spec);
  }

  messagesOf(id: string): Promise<readonly ChatMessage[]> {
    return this.#call('messagesOf', id);
  }

  keep(response: KeptResponse): void {
    this.#send({ kind: 'keep', response, maker: null });
  }

  async begin(id: string, origin: Exchange): Promise<Maker> {
    const maker = ++this.#numbers;
    const exchange = new DetachedExchange(origin, (events) => this.#send({ kind: 'told', maker, events }));
    await this.#call('begin', maker);
    this.#makers.set(maker, exchange);
    exchange.onEnd(() => {
      this.#makers.delete(maker);
      this.#send({ kind: 'over', maker });
    });
    return {
      exchange,
      keep: (response) => this.#send({ kind: 'keep', response, maker }),
      follow: (client) => this.#ask(client, { method: 'GET', path: client.path, query: 'stream=true', rest: id }),
      discard: () => this.#send({ kind: 'discard', id }),
    };
  }

  answer(exchange: Exchange, rest: string): void {
    const { method, path, query } = exchange;
    this.#ask(exchange, { method, path, query, rest });
  }

  #ask(exchange: Exchange, asked: (ToHome & { kind: 'ask' })['exchange']): void {
    const number = ++this.#numbers;
    this.#asked.set(number, exchange);
    this.#send({ kind: 'ask', number, exchange: asked });
    exchange.onEnd(() => {
      if (this.#asked.delete(number)) this.#send({ kind: 'gone', number });
    });
  }

  #call<N extends CallName>(name: N, argument: Calls[N][0]): Promise<Calls[N][1]> {
    const number = ++this.#numbers;
    return new Promise((resolve, reject) => {
      this.#calls.set(number, { resolve, reject });
      this.#send({ kind: 'call', number, name, argument } as ToHome);
    });
  }

  #send(message: ToHome): void {
    this.#port.postMessage(message);
  }

  #take(message: FromHome): void {
    if (message.kind === 'abort') this.#makers.get(message.maker)?.abort();
    else if (message.kind === 'reply') this.#reply(message);
    else if (message.kind === 'events') this.#pass(message);
    else this.#settle(message);
  }

  #settle(message: FromHome & { kind: 'answer' | 'refusal' }): void {
    const waiting = this.#calls.get(message.number);
    this.#calls.delete(message.number);
    if (message.kind === 'answer') waiting?.resolve(message.value as never);
    else waiting?.reject(errorOf(message.error));
  }

  #reply({ number, reply }: FromHome & { kind: 'reply' }): void {
    const exchange = this.#asked.get(number);
    this.#asked.delete(number);
    for (const [name, value] of reply.headers) exchange?.setHeader(name, value);
    exchange?.reply(reply.status, reply.contentType, reply.body);
  }

  #pass({ number, contentType, events, isLast }: FromHome & { kind: 'events' }): void {
    const exchange = this.#asked.get(number);
    if (exchange === undefined) return; // gone
    if (isLast) this.#asked.delete(number);
    const stream = exchange.stream ?? exchange.openStream(contentType);
    if (isLast) stream.end(events);
    else stream.send(events);
  }
}
