/** What /metrics shows of HTTP, under the names of the FastAPI instrumentator that vLLM uses: requests, their sizes and their durations. */
import type { Counter, Histogram, Labels, Registry } from './series.js';

export interface MeasuredRoute {
  readonly method: string;
  readonly path: string;
}

/** As vLLM leaves them out: probes would drown the rest. */
const unmeasured = new Set(['/metrics', '/health', '/load', '/ping', '/version', '/server_info']);

/** The handler of a request that no route took. */
const noRoute = 'none';
const methods = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
const statusGroups = ['1xx', '2xx', '3xx', '4xx', '5xx'];

const preciseBounds = [0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60];
const handlerBounds = [0.1, 0.5, 1];

interface HandlerSeries {
  /** One for each of `statusGroups`. */
  readonly requests: readonly Counter[];
  readonly duration: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
}

export class HttpMetrics {
  readonly #handlers = new Map<string, HandlerSeries>();
  readonly #precise: Histogram;
  readonly #byThread: Counter;

  constructor(registry: Registry, routes: readonly MeasuredRoute[]) {
    const taken = routes.filter(({ path }) => !unmeasured.has(path)).map(({ method, path }) => ({ method, handler: path }));
    const pairs = [...taken, ...methods.map((method) => ({ method, handler: noRoute }))];
    const handlers = [...new Set(pairs.map(({ handler }) => handler))];
    const statuses: Labels[] = pairs.flatMap((pair) => statusGroups.map((status) => ({ ...pair, status })));
    const sizes: Labels[] = handlers.map((handler) => ({ handler }));
    const size = (name: string, help: string) => registry.summaries(name, help, sizes);
    const requests = registry.counters('http_requests', 'Total number of requests by method, status and handler.', statuses, true);
    const requestBytes = size('http_request_size_bytes', 'Content length of incoming requests by handler.');
    const responseBytes = size('http_response_size_bytes', 'Content length of outgoing responses by handler.');
    this.#precise = registry.histogram(
      'http_request_duration_highr_seconds',
      'Latency with many buckets but no labels.',
      {},
      preciseBounds,
    );
    const durations = registry.histograms(
      'http_request_duration_seconds',
      'Latency with few buckets by handler.',
      pairs,
      handlerBounds,
      true,
    );
    this.#byThread = registry.threadCounter(
      'lockstep:api_thread_requests',
      'Number of requests that each API thread has answered.',
      'thread',
    );
    for (const [i, { method, handler }] of pairs.entries()) {
      this.#handlers.set(`${method} ${handler}`, {
        requests: requests.slice(i * statusGroups.length, (i + 1) * statusGroups.length),
        duration: durations[i]!,
        requestBytes: requestBytes[handlers.indexOf(handler)]!,
        responseBytes: responseBytes[handlers.indexOf(handler)]!,
      });
    }
  }

  /** One exchange that is over. `path`: of its route; null: there was none. Sizes as far as they were announced, else 0. */
  observe(method: string, path: string | null, status: number, seconds: number, requestBytes: number, responseBytes: number): void {
    this.#byThread.add(1);
    const series = this.#handlers.get(`${method} ${path ?? noRoute}`);
    if (series === undefined) return;
    series.requests[Math.min(4, Math.floor(status / 100) - 1)]?.add(1);
    series.requestBytes.observe(requestBytes);
    series.responseBytes.observe(responseBytes);
    series.duration.observe(seconds);
    this.#precise.observe(seconds);
  }
}
