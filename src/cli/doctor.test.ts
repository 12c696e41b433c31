import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NativeDeviceLibraries, NativeDevices } from '../addon/binding.js';
import { cudaFindings, examine, formatFindings } from './doctor.js';

test('every line has a name and a value, and Node is found', () => {
  const findings = examine({ ncclLibrary: '/nowhere/libnccl.so.2', cublasltLibrary: null }, {});
  assert.deepEqual(
    findings.filter(({ name, value }) => name === '' || value === ''),
    [],
  );
  const find = (name: string) => findings.find((finding) => finding.name === name);
  assert.equal(find('Node.js')?.value, process.version);
  assert.match(find('CPU')?.value ?? '', /[1-9]\d* cores/);
  assert.match(find('memory')?.value ?? '', /^[\d.]+ GB free of [\d.]+ GB$/);
  assert.match(find('cache')?.value ?? '', /none|\d+ entries, [\d.]+ GB$/);
  assert.match(find('CUDA')?.value ?? '', /^not in this build$|^runtime \d+\.\d+/);
  assert.equal(find('NCCL')?.value, 'not found');
  assert.match(find('NCCL')?.remark ?? '', /^not taken: .*\/nowhere\/libnccl\.so\.2/);
});

test('what is wrong is marked and named at the end', () => {
  const finding = (name: string, isFine: boolean) => ({ name, value: 'v', remark: isFine ? '' : 'why', isFine });
  assert.equal(formatFindings([finding('a', true)]), '  a  v\n\nlockstep serve can run here\n');
  assert.equal(
    formatFindings([finding('a', true), finding('bc', false)]),
    '  a   v\n! bc  v (why)\n\nlockstep serve cannot run here: bc\n',
  );
});

type Found = NativeDevices & NativeDeviceLibraries;

const none: Found = {
  problem: 'there is no NVIDIA driver: libcuda.so.1 is not found',
  runtimeVersion: 13000,
  driverVersion: null,
  devices: [],
  peers: [],
  nccl: { version: null, path: '', refused: [] },
  cublasLt: { version: null, path: '', refused: [] },
};
const linesOf = (found: Found, driver: string | null) => formatFindings(cudaFindings(found, driver)).split('\n').slice(0, -3);

test('a machine without GPUs: what is missing, and it is no fault', () => {
  assert.deepEqual(linesOf(none, null), [
    '  CUDA      runtime 13.0 (there is no NVIDIA driver: libcuda.so.1 is not found)',
    '  NCCL      not found',
    '  cuBLASLt  not found',
  ]);
  const old = 'the driver is too old: it has CUDA 12.4, and CUDA 13.0 needs driver 580 or later';
  assert.deepEqual(linesOf({ ...none, problem: old, driverVersion: 12040 }, 'NVRM version: 550.54'), [
    `  CUDA      runtime 13.0, driver for CUDA up to 12.4 (${old}; NVRM version: 550.54)`,
    '  NCCL      not found',
    '  cuBLASLt  not found',
  ]);
  const notBuilt = { ...none, problem: 'this build has no CUDA', runtimeVersion: null };
  assert.deepEqual(linesOf(notBuilt, null)[0], '  CUDA      not in this build (this build has no CUDA)');
});

test('a machine with GPUs: devices, what they reach, libraries and where they are from', () => {
  const device = { name: 'NVIDIA H200', busId: '0000:3b:00.0', capability: '9.0', multiprocessors: 132, memoryBytes: 150e9 };
  const found: Found = {
    ...none,
    problem: null,
    driverVersion: 13000,
    devices: [device, { ...device, busId: '0000:5e:00.0' }],
    peers: [
      [false, true],
      [false, false],
    ],
    nccl: { version: 22809, path: '/venv/libnccl.so.2', refused: ['/usr/lib/libnccl.so.2: it is NCCL 2.18.1'] },
    cublasLt: { version: 130002, path: '/venv/libcublasLt.so.13', refused: [] },
  };
  assert.deepEqual(linesOf(found, null), [
    '  CUDA      runtime 13.0, driver for CUDA up to 13.0',
    '  GPU 0     NVIDIA H200, 150.0 GB (0000:3b:00.0, compute 9.0, 132 multiprocessors; reaches 1)',
    '  GPU 1     NVIDIA H200, 150.0 GB (0000:5e:00.0, compute 9.0, 132 multiprocessors; reaches no other device)',
    '  NCCL      2.28.9 (/venv/libnccl.so.2; not taken: /usr/lib/libnccl.so.2: it is NCCL 2.18.1)',
    '  cuBLASLt  13.0.2 (/venv/libcublasLt.so.13)',
  ]);
  assert.deepEqual(
    linesOf({ ...found, devices: [device], peers: [[false]] }, null)[1],
    linesOf(found, null)[1]?.replace('; reaches 1', ''),
  );
});
