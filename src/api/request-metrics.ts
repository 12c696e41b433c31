/** `metrics` of an answer, with --enable-per-request-metrics: the times of its one choice, named and reckoned as vLLM does. */
import type { RequestTimes } from '../metrics/metrics.js';

/** `time_to_first_token_ms` from the start of the first step; `tokens_per_second` over that and what follows; null: there was no such thing. */
export function requestMetrics({ queueMs, scheduledMs, firstMs, lastMs, numTokens }: RequestTimes): object {
  const hasTokens = numTokens > 0;
  const runMs = lastMs - scheduledMs;
  return {
    time_to_first_token_ms: hasTokens ? firstMs - scheduledMs : null,
    generation_time_ms: hasTokens ? lastMs - firstMs : null,
    queue_time_ms: queueMs,
    mean_itl_ms: numTokens > 1 ? (lastMs - firstMs) / (numTokens - 1) : null,
    tokens_per_second: hasTokens && runMs > 0 ? (numTokens / runMs) * 1000 : null,
    speculative_decoding: null,
  };
}

/** The same as a field of a stream's last chunk, without what is null. */
export function metricsField(metrics: object | null): string {
  if (metrics === null) return '';
  const known = Object.entries(metrics).filter(([, value]) => value !== null);
  return `,"metrics":${JSON.stringify(Object.fromEntries(known))}`;
}
