#!/usr/bin/env python3
"""What scripts/gpu-check measures, by a plain loop of torch in a CUDA graph: the column beside ours.

    python3 gpu-check-torch.py [FILE] [--shapes 8B,0.5B] [--seconds 2]

The same shapes with the same weights (native/cuda/generated.h), bfloat16, a static KV cache, F.linear and scaled_dot_product_attention,
captured once and replayed; prefill without a graph. FILE, gpu-check-torch.json unless given, is what `gpu-check --torch FILE` reads.
It wants torch with CUDA and nothing else, and imports it only when it runs, since the numbers of the weights can be asked for without.
"""
import argparse
import json
import math
import time

# hidden, layers, heads, KV heads, intermediate, vocabulary, tied, biases of q, k and v, base of the rotary embedding
SHAPES = {
    "8B": (4096, 32, 32, 8, 14336, 128256, False, False, 5e5),
    "7B": (3584, 28, 28, 4, 18944, 152064, False, True, 1e6),
    "0.5B": (896, 24, 14, 2, 4864, 151936, True, True, 1e6),
    "135M": (576, 30, 9, 3, 1536, 49152, True, False, 1e5),
}
SCALE = 0.02 / 37837.2227
EPS = 1e-5


def signed(word):
    """A word of 64 bits as int64 has it."""
    return word - (1 << 64) if word >> 63 else word


def key_of(name):
    """FNV-1a of a tensor's name."""
    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 % (1 << 64)
    return key


def sums(key, at):
    """generated_value of native/cuda/generated.h before its last step, of int64 places that wrap around as torch's do."""

    def shifted(z, bits):
        return (z >> bits) & ((1 << (64 - bits)) - 1)

    z = (at + 1) * signed(0x9E3779B97F4A7C15) + signed(key)
    z = (z ^ shifted(z, 30)) * signed(0xBF58476D1CE4E5B9)
    z = (z ^ shifted(z, 27)) * signed(0x94D049BB133111EB)
    z = z ^ shifted(z, 31)
    return (z & 0xFFFF) + (shifted(z, 16) & 0xFFFF) + (shifted(z, 32) & 0xFFFF) + shifted(z, 48) - 2 * 0xFFFF


def matrix(torch, name, rows, cols):
    key = key_of(name)
    out = torch.empty(rows, cols, dtype=torch.bfloat16, device="cuda")
    step = max(1, (1 << 26) // cols)
    for first in range(0, rows, step):
        last = min(rows, first + step)
        at = torch.arange(first * cols, last * cols, dtype=torch.int64, device="cuda")
        out[first:last] = (sums(key, at).to(torch.float32) * SCALE).to(torch.bfloat16).view(last - first, cols)
    return out


class Model:
    def __init__(self, torch, shape, rows, context_max):
        self.torch = torch
        self.hidden, layers, self.heads, self.kv_heads, mid, vocab, tied, biased, base = shape
        self.dim = self.hidden // self.heads
        kv = self.kv_heads * self.dim
        self.embed = matrix(torch, "embed", vocab, self.hidden)
        self.head = self.embed if tied else matrix(torch, "head", vocab, self.hidden)
        self.one = torch.ones(self.hidden, dtype=torch.bfloat16, device="cuda")
        self.bias = torch.zeros(self.hidden + 2 * kv, dtype=torch.bfloat16, device="cuda") if biased else None
        self.layers = []
        for i in range(layers):
            of = f"layers.{i}."
            qkv = torch.cat([matrix(torch, of + "q", self.hidden, self.hidden), *(matrix(torch, of + n, kv, self.hidden) for n in "kv")])
            gate_up = torch.cat([matrix(torch, of + n, mid, self.hidden) for n in ("gate", "up")])
            o, down = matrix(torch, of + "o", self.hidden, self.hidden), matrix(torch, of + "down", self.hidden, mid)
            self.layers.append((qkv, o, gate_up, down))
        cache = (layers, rows, self.kv_heads, context_max, self.dim)
        self.k = torch.zeros(cache, dtype=torch.bfloat16, device="cuda")
        self.v = torch.zeros(cache, dtype=torch.bfloat16, device="cuda")
        half = torch.arange(self.dim // 2, dtype=torch.float32, device="cuda")
        angles = torch.outer(torch.arange(context_max, dtype=torch.float32, device="cuda"), base ** (-2 * half / self.dim))
        self.cos, self.sin = torch.cos(angles), torch.sin(angles)

    def turn(self, x, position):
        cos, sin = self.cos[position], self.sin[position]
        a, b = x.float().chunk(2, dim=-1)
        return self.torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(self.torch.bfloat16)

    def forward(self, ids, position):
        """ids [rows, tokens] at positions `position`, [tokens] on the device, behind a context that is as long as position[0]."""
        F = self.torch.nn.functional
        rows, tokens = ids.shape
        end = self.end
        x = F.embedding(ids, self.embed)
        for i, (qkv, o, gate_up, down) in enumerate(self.layers):
            h = F.linear(F.rms_norm(x, (self.hidden,), self.one, EPS), qkv, self.bias)
            h = h.view(rows, tokens, self.heads + 2 * self.kv_heads, self.dim).transpose(1, 2)
            q, k, v = h.split([self.heads, self.kv_heads, self.kv_heads], dim=1)
            self.k[i].index_copy_(2, position, self.turn(k, position))
            self.v[i].index_copy_(2, position, v)
            a = F.scaled_dot_product_attention(
                self.turn(q, position), self.k[i, :, :, :end], self.v[i, :, :, :end], is_causal=tokens > 1, enable_gqa=True)
            x = x + F.linear(a.transpose(1, 2).reshape(rows, tokens, self.hidden), o)
            gate, up = F.linear(F.rms_norm(x, (self.hidden,), self.one, EPS), gate_up).chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, down)
        logits = F.linear(F.rms_norm(x[:, -1], (self.hidden,), self.one, EPS), self.head)
        return logits.argmax(dim=-1, keepdim=True)


def seconds_of(torch, run, seconds):
    """Of one call."""
    for _ in range(3):
        run()
    torch.cuda.synchronize()
    start = time.perf_counter()
    run()
    torch.cuda.synchronize()
    times = max(5, min(2000, math.ceil(seconds / (time.perf_counter() - start))))
    start = time.perf_counter()
    for _ in range(times):
        run()
    torch.cuda.synchronize()
    return (time.perf_counter() - start) / times


def measure(torch, name, seconds):
    figures = {}
    for what, rows, context, tokens in (
        ("decode, 1 row, context 128", 1, 128, 1),
        ("decode, 32 rows, context 512", 32, 512, 1),
        ("prefill, 2048 tokens", 1, 0, 2048),
    ):
        model = Model(torch, SHAPES[name], rows, context + tokens)
        model.end = context + tokens
        ids = torch.ones(rows, tokens, dtype=torch.int64, device="cuda")
        position = torch.arange(context, context + tokens, dtype=torch.int64, device="cuda")
        with torch.inference_mode():
            run = lambda: model.forward(ids, position)  # noqa: E731
            if tokens == 1:
                stream = torch.cuda.Stream()
                with torch.cuda.stream(stream):
                    run()
                torch.cuda.current_stream().wait_stream(stream)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph):
                    ids.copy_(run())
                run = graph.replay
            figures[f"{name}: {what}"] = rows * tokens / seconds_of(torch, run, seconds)
        print(f"{name}: {what}: {figures[f'{name}: {what}']:.1f} tok/s", flush=True)
        del model, run
        torch.cuda.empty_cache()
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", nargs="?", default="gpu-check-torch.json")
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--seconds", type=float, default=2)
    options = parser.parse_args()
    import torch

    figures = {}
    for name in options.shapes.split(","):
        figures.update(measure(torch, name, options.seconds))
        with open(options.file, "w") as file:
            json.dump({"torch": torch.__version__, "device": torch.cuda.get_device_name(), "figures": figures}, file, indent=2)


if __name__ == "__main__":
    main()
