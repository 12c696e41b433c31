/** The home thread's side of `HomeLink`: does for the other API threads what only this one can. */
import { type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import type { Logger } from '../../log.js';
import type { Serving } from '../context.js';
import type { KeepAlive } from '../door/keep-alive.js';
import { asLockstepError, type ErrorCodeStyle } from '../error-body.js';
import { failExchange } from '../fail-exchange.js';
import type { PromptPool } from '../prepare.js';
import type { BackgroundResponse } from '../responses/background.js';
import { answerKept } from '../responses/kept.js';
import type { ResponseStore } from '../responses/store.js';
import { KeptExchange } from './kept-exchange.js';
import { type Calls, type FromHome, partsOf, type ToHome } from './messages.js';

export interface HomeParts {
  readonly store: ResponseStore;
  /** Of long prompts. */
  readonly reader: PromptPool | null;
  readonly grammars: Serving['grammars'];
  readonly keepAlive: KeepAlive;
  readonly errorCodeStyle: ErrorCodeStyle;
  readonly logger: Pick<Logger, 'error'>;
}

/** Serves one thread through its port, until that is closed. */
export function serveThread(port: MessagePort, parts: HomeParts): void {
  const thread = new ServedThread(port, parts);
  const takeIn = () => thread.takeArrived();
  parts.store.arrivals.add(takeIn);
  port.on('message', (message: ToHome) => thread.take(message));
  port.on('close', () => parts.store.arrivals.delete(takeIn));
}

class ServedThread {
  readonly #port: MessagePort;
  readonly #parts: HomeParts;
  /** What is made on that thread. */
  readonly #made = new Map<number, BackgroundResponse>();
  readonly #exchanges = new Map<number, KeptExchange>();
  #isTaking = false;

  constructor(port: MessagePort, parts: HomeParts) {
    this.#port = port;
    this.#parts = parts;
  }

  /** What lies in the port; nothing while one message of it is being taken, since they keep their order. */
  takeArrived(): void {
    if (this.#isTaking) return;
    for (let next = receiveMessageOnPort(this.#port); next !== undefined; next = receiveMessageOnPort(this.#port)) this.take(next.message);
  }

  take(message: ToHome): void {
    this.#isTaking = true;
    try {
      this.#handle(message);
    } finally {
      this.#isTaking = false;
    }
  }

  #handle(message: ToHome): void {
    const { store } = this.#parts;
    if (message.kind === 'call') void this.#answer(message);
    else if (message.kind === 'told') this.#made.get(message.maker)?.take(message.events);
    else if (message.kind === 'over') this.#end(message.maker);
    else if (message.kind === 'discard') store.discard(message.id);
    else if (message.kind === 'ask') this.#exchange(message);
    else if (message.kind === 'gone') this.#exchanges.get(message.number)?.abort();
    else this.#keep(message);
  }

  #keep({ response, maker }: ToHome & { kind: 'keep' }): void {
    const background = maker === null ? null : this.#made.get(maker);
    if (background !== undefined) this.#parts.store.add({ ...response, background });
  }

  async #answer(call: ToHome & { kind: 'call' }): Promise<void> {
    const { number } = call;
    try {
      this.#send({ kind: 'answer', number, value: await this.#valueOf(call) });
    } catch (error) {
      const known = asLockstepError(error);
      if (known !== error) this.#parts.logger.error({ err: error }, 'what another thread asked for failed unexpectedly');
      this.#send({ kind: 'refusal', number, error: partsOf(known) });
    }
  }

  async #valueOf(call: ToHome & { kind: 'call' }): Promise<Calls[keyof Calls][1]> {
    const { store, reader, grammars } = this.#parts;
    if (call.name === 'prepare') return reader!.prepare(call.argument);
    if (call.name === 'compile') return grammars.compile(call.argument);
    if (call.name === 'messagesOf') return store.messagesOf(call.argument);
    const maker = call.argument;
    this.#made.set(
      maker,
      store.begin(() => this.#send({ kind: 'abort', maker })),
    );
    return null;
  }

  #end(maker: number): void {
    this.#made.get(maker)?.end();
    this.#made.delete(maker);
  }

  #exchange({ number, exchange: asked }: ToHome & { kind: 'ask' }): void {
    const { store, keepAlive, errorCodeStyle } = this.#parts;
    const exchange = new KeptExchange(asked, number, (message) => this.#send(message));
    this.#exchanges.set(number, exchange);
    exchange.onEnd(() => this.#exchanges.delete(number));
    try {
      answerKept(exchange, store, asked.rest);
      if (exchange.stream !== null) keepAlive.watch(exchange);
    } catch (error) {
      failExchange(exchange, asLockstepError(error), errorCodeStyle);
    }
  }

  #send(message: FromHome): void {
    this.#port.postMessage(message);
  }
}
