/** When each request of a run is sent. */
import type { Random } from './random.js';

/**
 * Seconds after the start, one a request, growing: gaps are gamma distributed with mean 1/rate and shape `burstiness` (1: a Poisson
 * process; less: burstier). All are scaled so that the last comes after count/rate seconds, so that the asked rate is met exactly.
 */
export function arrivalTimes(count: number, rate: number, burstiness: number, random: Random): Float64Array {
  const times = new Float64Array(count);
  if (rate === Infinity) return times;
  let time = 0;
  for (let i = 0; i < count; i++) {
    time += random.gamma(burstiness, 1 / (rate * burstiness));
    times[i] = time;
  }
  const scale = time > 0 ? count / rate / time : 1;
  return times.map((value) => value * scale);
}
