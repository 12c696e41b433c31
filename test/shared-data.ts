/** Test data that is too large for the repository: the folder `../shared/data`, or null where it is not there. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';

const folder = resolve('../shared/data');

/** Plain `npm test` sets LOCKSTEP_NO_SHARED, so that it reads nothing outside the repository; a filter lets these tests run. */
export const sharedData: string | null = !process.env['LOCKSTEP_NO_SHARED'] && existsSync(folder) ? folder : null;
