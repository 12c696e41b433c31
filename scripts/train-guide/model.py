"""The guide's network in JAX: a Llama decoder (RMSNorm, RoPE in halves, SwiGLU, grouped-query attention, tied embeddings).

Owns: the shapes, the forward pass for training, greedy decoding for the held-out questions.
Leaves to others: what is trained on (corpus.py), the loop (train.py), the files (export.py), the check of those files (check.py).
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Shape:
    """Six query heads on three KV heads: two ranks get two KV heads and one, four ranks must split a group."""

    vocab: int
    hidden: int = 192
    layers: int = 4
    heads: int = 6
    kv_heads: int = 3
    head_dim: int = 32
    ffn: int = 512
    rope_theta: float = 10000.0
    eps: float = 1e-5
    max_positions: int = 1024


def init(shape: Shape, seed: int) -> dict:
    """Matrices are [in, out]; export.py turns them round. Layers are stacked along axis 0."""
    rng = np.random.default_rng(seed)
    s = shape

    def normal(*dims, std):
        return jnp.asarray(rng.normal(0, std, dims), jnp.float32)

    into = s.hidden**-0.5
    return {
        "embed": normal(s.vocab, s.hidden, std=0.05),
        "norm": jnp.ones(s.hidden),
        "layers": {
            "norm1": jnp.ones((s.layers, s.hidden)),
            "q": normal(s.layers, s.hidden, s.heads * s.head_dim, std=into),
            "k": normal(s.layers, s.hidden, s.kv_heads * s.head_dim, std=into),
            "v": normal(s.layers, s.hidden, s.kv_heads * s.head_dim, std=into),
            "o": normal(s.layers, s.heads * s.head_dim, s.hidden, std=into * (2 * s.layers) ** -0.5),
            "norm2": jnp.ones((s.layers, s.hidden)),
            "gate": normal(s.layers, s.hidden, s.ffn, std=into),
            "up": normal(s.layers, s.hidden, s.ffn, std=into),
            "down": normal(s.layers, s.ffn, s.hidden, std=s.ffn**-0.5 * (2 * s.layers) ** -0.5),
        },
    }


def rms_norm(x, weight, eps):
    return x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + eps) * weight


def rope(x, positions, theta):
    """x [batch, time, heads, head_dim]; element i turns with element i + head_dim/2 (the Hugging Face order)."""
    half = x.shape[-1] // 2
    angle = positions[..., None] * theta ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[:, :, None], jnp.sin(angle)[:, :, None]
    a, b = x[..., :half], x[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)


def hidden_states(params, shape: Shape, ids, positions, segments, dropout_key=None, dropout=0.0):
    """ids, positions, segments [batch, time] -> [batch, time, hidden]. A token sees earlier tokens of its own segment only."""
    s = shape
    batch, time = ids.shape
    mask = (segments[:, :, None] == segments[:, None, :]) & jnp.tril(jnp.ones((time, time), bool))
    keys = None if dropout_key is None else jax.random.split(dropout_key, 2 * s.layers + 1)

    def drop(x, i):
        if keys is None:
            return x
        return jnp.where(jax.random.bernoulli(keys[i], 1 - dropout, x.shape), x / (1 - dropout), 0)

    x = drop(params["embed"][ids], 2 * s.layers)
    for i in range(s.layers):
        w = {name: value[i] for name, value in params["layers"].items()}
        h = rms_norm(x, w["norm1"], s.eps)
        q = rope((h @ w["q"]).reshape(batch, time, s.heads, s.head_dim), positions, s.rope_theta)
        k = rope((h @ w["k"]).reshape(batch, time, s.kv_heads, s.head_dim), positions, s.rope_theta)
        v = (h @ w["v"]).reshape(batch, time, s.kv_heads, s.head_dim)
        k, v = (jnp.repeat(t, s.heads // s.kv_heads, 2) for t in (k, v))
        scores = jnp.einsum("bthd,bshd->bhts", q, k) * s.head_dim**-0.5
        weights = jax.nn.softmax(jnp.where(mask[:, None], scores, -1e30), -1)
        o = jnp.einsum("bhts,bshd->bthd", weights, v).reshape(batch, time, -1)
        x = x + drop(o @ w["o"], 2 * i)
        h = rms_norm(x, w["norm2"], s.eps)
        x = x + drop((jax.nn.silu(h @ w["gate"]) * (h @ w["up"])) @ w["down"], 2 * i + 1)
    return rms_norm(x, params["norm"], s.eps)


def greedy(params, shape: Shape, prompts: list[list[int]], steps: int, stop: int, width: int = 128) -> list[list[int]]:
    """The likeliest continuation of each prompt, all prompts at once. No KV cache: the held-out set is small and this stays plain."""
    ids = np.zeros((len(prompts), width), np.int32)
    length = np.array([len(p) for p in prompts])
    for row, prompt in enumerate(prompts):
        ids[row, : len(prompt)] = prompt
    done = np.zeros(len(prompts), bool)
    start = length.copy()
    for _ in range(steps):
        best = np.asarray(_next(params, shape, jnp.asarray(ids), jnp.asarray(length - 1)))
        done |= (best == stop) | (length >= width - 1)
        rows = np.flatnonzero(~done)
        if not len(rows):
            break
        ids[rows, length[rows]] = best[rows]
        length[rows] += 1
    return [ids[i, start[i] : length[i]].tolist() for i in range(len(prompts))]


def _next_plain(params, shape, ids, last):
    positions = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
    x = hidden_states(params, shape, ids, positions, jnp.zeros_like(ids))
    return jnp.argmax(x[jnp.arange(ids.shape[0]), last] @ params["embed"].T, -1)


_next = jax.jit(_next_plain, static_argnums=1)
