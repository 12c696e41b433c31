/** A picture of the shards: a lane a rank, from the first row (or head) of a matrix at the left to its last at the right. */
import type { Cut, EngineReading } from './figures.js';

const width = 600;
/** Of a lane; lanes of many ranks are thinner. */
const laneHeight = (numRanks: number) => Math.max(3, Math.min(14, Math.floor(72 / numRanks)));

export function Shards({ reading: { ranks, model } }: { readonly reading: EngineReading }) {
  const how =
    ranks.mode === 'gather'
      ? 'Every matrix is cut by rows, and each rank reads all activations: no partial sums. The KV cache is one, and the work of attention is dealt anew each step.'
      : 'Attention is cut by heads and the MLP by its inner rows; ranks add up their partial sums.';
  return (
    <section class="shards">
      <h2>Who holds what</h2>
      <p class="note">{ranks.count === 1 ? 'One rank holds everything.' : how}</p>
      <ul class="legend" aria-hidden="true">
        {Array.from({ length: Math.min(ranks.count, 8) }, (_, rank) => (
          <li>
            <i class={`rank-${rank}`} /> rank {rank}
          </li>
        ))}
        {ranks.count > 8 ? <li>and so on, up to {ranks.count - 1}</li> : null}
      </ul>
      {ranks.cuts.map((cut) => (
        <CutView cut={cut} numLayers={model.layers} />
      ))}
    </section>
  );
}

const nameOf = ({ part, layers }: Cut, numLayers: number): string => {
  const name = part[0]!.toUpperCase() + part.slice(1);
  if (layers === null) return name;
  const isAll = layers[0] === 0 && layers[1] === numLayers - 1;
  return `${name} ${isAll ? 'of every layer' : `of layers ${layers[0]}–${layers[1]}`}`;
};

const spanOf = ([first, count]: readonly [number, number]): string =>
  count === 0 ? 'none' : count === 1 ? `${first}` : `${first}–${first + count - 1}`;

function CutView({ cut, numLayers }: { readonly cut: Cut; readonly numLayers: number }) {
  const { total, ranges } = cut;
  const lane = laneHeight(ranges.length);
  const told = ranges.map((range, rank) => `rank ${rank}: ${spanOf(range)}`).join(', ');
  return (
    <figure>
      <figcaption>
        {nameOf(cut, numLayers)} <span class="note">{total.toLocaleString('en')}</span>
      </figcaption>
      <svg
        viewBox={`0 0 ${width} ${lane * ranges.length}`}
        preserveAspectRatio="none"
        height={lane * ranges.length}
        role="img"
        aria-label={told}
      >
        {ranges.map(([first, count], rank) => (
          <g>
            <rect class="lane" x={0} y={rank * lane} width={width} height={lane - 1} />
            <rect class={`rank-${rank % 8}`} x={(first / total) * width} y={rank * lane} width={(count / total) * width} height={lane - 1}>
              <title>{`rank ${rank}: ${spanOf([first, count])}`}</title>
            </rect>
          </g>
        ))}
      </svg>
    </figure>
  );
}
