/** `node cuda-addon.mjs ADDON`: an addon that was built with CUDA loads, in threads that come and go too, and says what it finds. */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { isMainThread, Worker, workerData } from 'node:worker_threads';

const found = createRequire(import.meta.url)(isMainThread ? process.argv[2] : workerData).devices();
assert.ok(found.runtimeVersion >= 12080, `the addon holds a CUDA runtime of version ${found.runtimeVersion}`);
assert.equal(found.problem === null, found.devices.length > 0, 'there are devices, or a reason why not');
if (isMainThread) {
  // The runtime must outlive each of the threads.
  for (let i = 0; i < 3; i++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: process.argv[2] });
    const code = await new Promise((resolve, reject) => worker.once('exit', resolve).once('error', reject));
    assert.equal(code, 0);
  }
  console.log(found.problem ?? found.devices.map(({ name }) => name).join(', '));
}
