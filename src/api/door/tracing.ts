/**
 * A span for every request that the engine was given, sent to an OpenTelemetry collector as OTLP over HTTP in JSON
 * (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding), with vLLM's attributes. The caller's trace goes on (W3C traceparent).
 * Spans leave in batches behind the requests' back; where the collector does not keep up they are dropped.
 */
import { randomBytes } from 'node:crypto';
import type { GenerationRequest } from '../../engine/request.js';
import type { Logger } from '../../log.js';
import type { Exchange } from '../exchange.js';

export interface TraceOptions {
  /** Where spans are posted: http://HOST:4318/v1/traces */
  readonly url: string;
  readonly serviceName: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** Spans that wait; one more drops itself. */
export const waitingSpansMax = 2048;
const batchLenMax = 512;
const flushMs = 1000;
const postTimeoutMs = 10_000;

type Attribute = { readonly key: string; readonly value: object };
const text = (key: string, stringValue: string): Attribute => ({ key, value: { stringValue } });
const whole = (key: string, count: number): Attribute => ({ key, value: { intValue: String(count) } });
const real = (key: string, doubleValue: number): Attribute => ({ key, value: { doubleValue } });

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly Attribute[];
  readonly status: { readonly code: number };
}

const serverKind = 2;
const [okStatus, errorStatus] = [1, 2];

/** https://www.w3.org/TR/trace-context/#traceparent-header; null: none, or none that is well formed. */
export function parseTraceparent(header: string | undefined): { traceId: string; parentId: string; isSampled: boolean } | null {
  const match = /^(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/.exec(header ?? '');
  return match === null ? null : { traceId: match[1]!, parentId: match[2]!, isSampled: (Number.parseInt(match[3]!, 16) & 1) === 1 };
}

/** The times of one request. */
export interface RequestSpan {
  prompt(queueMs: number): void;
  tokens(count: number): void;
  end(failed: boolean): void;
}

export class Tracer {
  readonly #options: TraceOptions;
  readonly #logger: Pick<Logger, 'warn'>;
  #waiting: Span[] = [];
  #isPosting = false;
  #hasWarned = false;
  readonly #timer: NodeJS.Timeout;

  constructor(options: TraceOptions, logger: Pick<Logger, 'warn'>) {
    this.#options = options;
    this.#logger = logger;
    this.#timer = setInterval(() => void this.#post(), flushMs).unref();
  }

  /** null: the caller's trace is not recorded. `arrivalMs`: of `performance.now()`. */
  begin(exchange: Exchange, request: GenerationRequest, model: string, arrivalMs: number): RequestSpan | null {
    const parent = parseTraceparent(exchange.header('traceparent'));
    if (parent !== null && !parent.isSampled) return null;
    let [queueMs, firstMs, lastMs, numTokens] = [0, 0, 0, 0];
    return {
      prompt(waitedMs) {
        queueMs = waitedMs;
      },
      tokens(count) {
        if (count === 0) return;
        lastMs = performance.now();
        if (firstMs === 0) firstMs = lastMs;
        numTokens += count;
      },
      end: (failed) => {
        const endMs = performance.now();
        const times = { arrivalMs, queueMs, firstMs, lastMs, endMs };
        this.#add({
          traceId: parent?.traceId ?? randomBytes(16).toString('hex'),
          spanId: randomBytes(8).toString('hex'),
          ...(parent === null ? {} : { parentSpanId: parent.parentId }),
          name: 'llm_request',
          kind: serverKind,
          startTimeUnixNano: unixNano(arrivalMs),
          endTimeUnixNano: unixNano(endMs),
          attributes: [...askedFor(request, model), whole('gen_ai.usage.completion_tokens', numTokens), ...latencies(times)],
          status: { code: failed ? errorStatus : okStatus },
        });
      },
    };
  }

  #add(span: Span): void {
    if (this.#waiting.length >= waitingSpansMax) return;
    this.#waiting.push(span);
    if (this.#waiting.length >= batchLenMax) void this.#post();
  }

  async #post(): Promise<void> {
    if (this.#isPosting || this.#waiting.length === 0) return;
    this.#isPosting = true;
    const spans = this.#waiting.slice(0, batchLenMax);
    this.#waiting = this.#waiting.slice(batchLenMax);
    const { url, headers, serviceName } = this.#options;
    const resource = { attributes: [text('service.name', serviceName)] };
    const body = JSON.stringify({ resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'lockstep' }, spans }] }] });
    try {
      const signal = AbortSignal.timeout(postTimeoutMs);
      const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body, signal });
      await answer.body?.cancel();
      if (!answer.ok) throw new Error(`it answered ${answer.status}`);
      this.#hasWarned = false;
    } catch (error) {
      if (!this.#hasWarned) this.#logger.warn({ err: error }, `traces do not reach ${url}; spans are dropped until they do`);
      this.#hasWarned = true;
    } finally {
      this.#isPosting = false;
    }
  }

  /** What still waits is sent. */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.#post();
  }
}

const unixNano = (ms: number) => String(BigInt(Math.round((performance.timeOrigin + ms) * 1000)) * 1000n);

function askedFor({ id, promptTokens, sampling, stop }: GenerationRequest, model: string): Attribute[] {
  return [
    text('gen_ai.response.model', model),
    text('gen_ai.request.id', id),
    real('gen_ai.request.temperature', sampling.temperature),
    real('gen_ai.request.top_p', sampling.topP),
    whole('gen_ai.request.max_tokens', stop.maxTokens),
    whole('gen_ai.request.n', sampling.n),
    whole('gen_ai.usage.prompt_tokens', promptTokens.length),
  ];
}

interface Times {
  readonly arrivalMs: number;
  readonly queueMs: number;
  /** 0: there was no token. */
  readonly firstMs: number;
  readonly lastMs: number;
  readonly endMs: number;
}

/** In seconds. */
function latencies({ arrivalMs, queueMs, firstMs, lastMs, endMs }: Times): Attribute[] {
  const all = [real('gen_ai.latency.time_in_queue', queueMs / 1000), real('gen_ai.latency.e2e', (endMs - arrivalMs) / 1000)];
  if (firstMs === 0) return all;
  const scheduledMs = arrivalMs + queueMs;
  return [
    ...all,
    real('gen_ai.latency.time_to_first_token', (firstMs - arrivalMs) / 1000),
    real('gen_ai.latency.time_in_model_prefill', Math.max(0, firstMs - scheduledMs) / 1000),
    real('gen_ai.latency.time_in_model_decode', (lastMs - firstMs) / 1000),
    real('gen_ai.latency.time_in_model_inference', Math.max(0, lastMs - scheduledMs) / 1000),
  ];
}
