/**
 * Native code that an installed package or the single executable brings along, for this platform and no other: prebuilds/linux-x64/NAME below the
 * package's root. In a checkout there is none of it: the addon is built there, and dependencies bring their own.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of package.json above this file, which is run from dist/. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json')) && dirname(folder) !== folder) folder = dirname(folder);
  return folder;
}

/** null: it was not brought along. */
export function prebuilt(name: string): string | null {
  const path = join(packageRoot(), 'prebuilds', `${process.platform}-${process.arch}`, name);
  return existsSync(path) ? path : null;
}
