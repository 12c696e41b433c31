/**
 * fast-check with the same examples in every run, so that a failure is the change's and not the day's. `LOCKSTEP_SEED=random` looks among
 * others, and a number repeats those of one seed.
 */
import fc from 'fast-check';

const { LOCKSTEP_SEED: wanted = '1' } = process.env;

/** For properties that are asserted in several batches, each with a seed of its own. */
export const seed = wanted === 'random' ? Date.now() | 0 : Number(wanted);

fc.configureGlobal({ seed });

export { fc };
