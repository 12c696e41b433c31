/** Before `npm pack`: builds all of the package, and puts native code for Linux into prebuilds/, so that its install compiles nothing there. */
import { rmSync } from 'node:fs';
import { inPage, inPrebuilds, writeLicences } from './licences.mjs';
import { buildArmAddon, collectPrebuilds } from './prebuilds.mjs';
import { prepare, say } from './prepare.mjs';
import { stopWith } from './tools.mjs';

/** Node 20, 22 and 24. uWebSockets.js for the later two wants glibc 2.38; node:http serves where that is not there. */
const abis = [115, 127, 137];

prepare();
if (process.platform !== 'linux' || process.arch !== 'x64') stopWith('the package is packed on Linux on x64 only');
rmSync('prebuilds', { recursive: true, force: true });
collectPrebuilds('prebuilds/linux-x64', { os: 'linux', arch: 'x64', addon: 'build/Release/lockstep_native.node', abis });
writeLicences('prebuilds/LICENSES.txt', [...inPage, ...inPrebuilds]);
const addon = buildArmAddon();
if (addon === null) say('g++-aarch64-linux-gnu is not installed: the package has no addon for Arm, and its install compiles one there');
else collectPrebuilds('prebuilds/linux-arm64', { os: 'linux', arch: 'arm64', addon, abis });
