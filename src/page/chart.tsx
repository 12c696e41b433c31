/** A line of the last two minutes, newest at the right. What it shows is told in words too. */
import { readingsMax } from './engine-state.js';

const width = 240;
const height = 48;

interface ChartProps {
  readonly label: string;
  readonly values: readonly number[];
  /** Top of the picture; absent: the largest value. */
  readonly most?: number;
  readonly written: (value: number) => string;
}

export function Chart({ label, values, most, written }: ChartProps) {
  const peak = Math.max(0, ...values);
  const top = most ?? (peak || 1);
  const step = width / (readingsMax - 2);
  const points = values.map((value, i) => {
    const x = width - (values.length - 1 - i) * step;
    return `${x.toFixed(1)},${(height - 1 - (value / top) * (height - 2)).toFixed(1)}`;
  });
  const first = width - (values.length - 1) * step;
  const area = values.length < 2 ? '' : `M${first},${height} L${points.join(' L')} L${width},${height} Z`;
  return (
    <figure class="chart">
      <svg
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label}: ${written(values.at(-1) ?? 0)} now, at most ${written(peak)} in the last two minutes`}
      >
        <path class="area" d={area} />
        <polyline class="line" points={points.join(' ')} />
      </svg>
      <figcaption aria-hidden="true">
        <span>2 minutes</span>
        <span>peak {written(peak)}</span>
      </figcaption>
    </figure>
  );
}
