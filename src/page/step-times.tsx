/** Where the time of a step goes, rank by rank. */
import { shortSeconds } from './figures.js';

const phases = ['attention', 'linear', 'head', 'sample'] as const;
const names = { attention: 'Attention', linear: 'Matrices', head: 'Embedding, head', sample: 'Sampling' } as const;

export function StepTimes({ times }: { readonly times: readonly Readonly<Record<string, number>>[] | null }) {
  const longest = Math.max(1, ...(times ?? []).map((rank) => rank['total'] ?? 0));
  const written = (us: number | undefined) => shortSeconds((us ?? 0) / 1e6);
  return (
    <section>
      <h2>A step, by phase and rank</h2>
      {times === null ? (
        <p class="note">No step was made in the last seconds. Ask something, and see.</p>
      ) : (
        <section class="scroll" tabIndex={0} aria-label="Times of a step">
          <table class="figures phases">
            <thead>
              <tr>
                <th scope="col">Rank</th>
                <th scope="col" class="number">
                  Step
                </th>
                <td aria-hidden="true" />
                {phases.map((phase) => (
                  <th scope="col" class="number">
                    <i class={`key ${phase}`} aria-hidden="true" />
                    {names[phase]}
                  </th>
                ))}
                <th scope="col" class="number" title="For other ranks, within the phases">
                  Waiting in it
                </th>
              </tr>
            </thead>
            <tbody>
              {times.map((rank, i) => (
                <tr>
                  <th scope="row">{i}</th>
                  <td class="number">{written(rank['total'])}</td>
                  <td class="bar stack" aria-hidden="true">
                    {phases.map((phase) => (
                      <i class={phase} style={{ width: `${(100 * (rank[phase] ?? 0)) / longest}%` }} />
                    ))}
                  </td>
                  {phases.map((phase) => (
                    <td class="number">{written(rank[phase])}</td>
                  ))}
                  <td class="number">{written(rank['wait'])}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </section>
      )}
    </section>
  );
}
