/** `npm run build`: packages, native addon, compiled TypeScript. */
import { prepare, say } from './prepare.mjs';

prepare();
say('built');
