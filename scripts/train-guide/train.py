"""Trains models/guide: `python scripts/train-guide/train.py` (README.md beside this file has the whole command).

Owns: batches, loss, optimiser, choosing the best state on the held-out questions. The result is written by export.py.
"""

import argparse
import json
import random
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tokenizers import Tokenizer

from check import read_bf16
from corpus import Corpus
from export import params_of, write_model
from model import Shape, greedy, hidden_states, init
from vocabulary import VOCAB, Chat, train_tokenizer

ROWS, TIME = 7, 256  # a batch: rows of several conversations, each seeing only itself
LEARNED = 768  # most tokens of a batch that are learned; the head is computed for these only
CUT = 0.8
DROPOUT = 0.1
PEAK_ADAM, PEAK_MUON, DECAY = 2.5e-3, 0.015, 0.05
EMA = 0.995


class Batches:
    """Rows of ids filled with whole conversations. Only answers are learned (weight 1), and the mark that ends them."""

    def __init__(self, chat: Chat, seed: int):
        self.chat, self.corpus, self.rng = chat, Corpus(seed), random.Random(seed + 1)
        self.pending = [self.sample() for _ in range(16)]  # a row takes the first of these that still fits

    def sample(self) -> tuple[list[int], list[int]]:
        """Ids, and for each 0 or, where it is part of an answer, 1 + the topic of that answer."""
        system, turns = self.corpus.conversation()
        chat, rng = self.chat, self.rng
        if system == "":
            ids = []
        else:
            ids = chat.prompt([], "", system)[: -len(chat.message("user", []) + chat.roles["assistant"])]
        topics = [0] * len(ids)
        for i, (question, answer, topic) in enumerate(turns):
            asked = chat.message("user", chat.text(question, rng)) + chat.roles["assistant"]
            told = [*chat.text(answer), chat.stop]
            # Which answer is the hard part, and it is decided in the first few tokens; the rest is soon known by heart. Most of the last answers are
            # cut there, which leaves room for more questions in the same time.
            if i == len(turns) - 1 and rng.random() < CUT:
                told = told[: rng.randint(2, 7)]
            ids += asked + told
            topics += [0] * len(asked) + [1 + topic] * len(told)
            if i < len(turns) - 1:
                ids += chat.newline
                topics += [0] * len(chat.newline)
        return ids[:TIME], topics[:TIME]

    def next(self):
        """ids, positions, segments [ROWS, TIME]; flat indices of the tokens to be predicted, filled up with -1, and their topics [LEARNED]; all int32."""
        ids, positions, segments, topics = (np.zeros((ROWS, TIME), np.int32) for _ in range(4))
        for row in range(ROWS):
            at, segment = 0, 1
            while (fits := next((i for i, p in enumerate(self.pending) if at + len(p[0]) <= TIME), None)) is not None:
                tokens, told = self.pending.pop(fits)
                self.pending.append(self.sample())
                end = at + len(tokens)
                ids[row, at:end], topics[row, at:end] = tokens, told
                positions[row, at:end], segments[row, at:end] = np.arange(len(tokens)), segment
                at, segment = end, segment + 1
        learned = np.full(LEARNED, -1, np.int32)
        indices = np.flatnonzero(topics)[:LEARNED]
        learned[: len(indices)] = indices
        return ids, positions, segments, learned, topics.reshape(-1)[learned] - 1


def loss_of(params, shape, batch, key):
    """The tokens of answers and, by a head that is thrown away afterwards, which topic each belongs to: most tokens of an answer follow from the one before,
    so that without this head the choice of the answer is a small part of the gradient."""
    ids, positions, segments, learned, topics = batch
    x = hidden_states(params, shape, ids, positions, segments, key, DROPOUT).reshape(-1, shape.hidden)[learned - 1]
    w = learned > 0

    def cross_entropy(logits, target):
        chosen = jnp.take_along_axis(logits, target[:, None], -1)[:, 0]
        return jnp.sum((jax.nn.logsumexp(logits, -1) - chosen) * w) / jnp.sum(w)

    tokens = cross_entropy(x @ params["embed"].T, ids.reshape(-1)[learned])
    topic = cross_entropy(x @ params["topic"], topics)
    return tokens + topic, (tokens, topic)


def orthogonal(g):
    """Nearest orthogonal matrix, about: five Newton-Schulz steps, coefficients of Muon (K. Jordan, 2024). g [layers, in, out]."""
    a, b, c = 3.4445, -4.7750, 2.0315
    turned = g.shape[1] > g.shape[2]
    x = g.swapaxes(1, 2) if turned else g
    x = x / (jnp.linalg.norm(x, axis=(1, 2), keepdims=True) + 1e-7)
    for _ in range(5):
        m = x @ x.swapaxes(1, 2)
        x = a * x + (b * m + c * m @ m) @ x
    return x.swapaxes(1, 2) if turned else x


@partial(jax.jit, static_argnums=(1,))
def train_step(state, shape, batch, key, progress):
    """Muon for the matrices of the layers, Adam for embeddings and norms; the rate falls linearly to zero. progress: 0 … 1."""
    params, first, second, average, step = state
    (_, losses), grads = jax.value_and_grad(loss_of, has_aux=True)(params, shape, batch, key)
    scale = jnp.minimum(1.0, (step + 1) / 50) * (1 - progress)
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in jax.tree.leaves(grads)))
    grads = jax.tree.map(lambda g: g * jnp.minimum(1.0, 1.0 / norm), grads)

    def update(p, g, m, v):
        if p.ndim == 3:
            m = 0.95 * m + g
            size = jnp.sqrt(jnp.maximum(1.0, p.shape[2] / p.shape[1]))
            return p * (1 - scale * PEAK_MUON * DECAY) - scale * PEAK_MUON * size * orthogonal(0.95 * m + g), m, v
        m, v = 0.9 * m + 0.1 * g, 0.98 * v + 0.02 * g * g
        direction = (m / (1 - 0.9 ** (step + 1))) / (jnp.sqrt(v / (1 - 0.98 ** (step + 1))) + 1e-8)
        return p - scale * PEAK_ADAM * direction, m, v

    out = jax.tree.map(update, params, grads, first, second)
    params, first, second = (jax.tree.map(lambda t: t[i], out, is_leaf=lambda t: isinstance(t, tuple)) for i in range(3))
    decay = jnp.minimum(EMA, (step + 1) / (step + 10))
    average = jax.tree.map(lambda a, p: decay * a + (1 - decay) * p, average, params)
    return (params, first, second, average, step + 1), losses


def held_out_score(params, shape, chat: Chat, questions) -> tuple[float, list[str]]:
    """Share of held-out questions that get exactly their answer, and the topics that do not. One in two is asked after another exchange."""
    prompts = []
    for i, (_, question, _) in enumerate(questions):
        earlier = questions[(i + 40) % len(questions)]
        prompts.append(chat.prompt([(earlier[1], earlier[2])] if i % 2 else [], question))
    # The first twelve tokens tell the topics apart; the rest of an answer follows from them.
    answers = greedy(params, shape, prompts, 12, chat.stop, width=192)
    wrong = [t for (t, _, answer), got in zip(questions, answers) if got != chat.text(answer)[: len(got)] or len(got) < 8]
    return 1 - len(wrong) / len(questions), wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[2] / "models" / "guide")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--start-from", type=Path, help="a folder that this script wrote: its tokenizer and weights instead of new ones")
    parser.add_argument("--every", type=int, default=100, help="steps between looks at the held-out questions")
    args = parser.parse_args()

    tokenizer = Tokenizer.from_file(str(args.start_from / "tokenizer.json")) if args.start_from else train_tokenizer(args.seed)
    chat, shape = Chat(tokenizer, dropout=0.1), Shape(VOCAB)
    batches = Batches(chat, args.seed)
    questions = Corpus(args.seed).held_out()
    params = params_of(read_bf16(args.start_from / "model.safetensors"), shape.layers) if args.start_from else init(shape, args.seed)
    params["topic"] = jnp.zeros((shape.hidden, len(batches.corpus.topics)))
    print(f"{sum(p.size for p in jax.tree.leaves(params)):,} parameters, {len(batches.corpus.topics)} topics, {len(questions)} held-out questions", flush=True)
    zeros = jax.tree.map(jnp.zeros_like, params)
    state, key = (params, zeros, zeros, params, 0), jax.random.key(args.seed, impl="rbg")
    best, losses, started = -1.0, [], time.time()
    for step in range(args.steps):
        state, both = train_step(state, shape, batches.next(), jax.random.fold_in(key, step), step / args.steps)
        losses.append(both)
        if (step + 1) % args.every == 0 or step + 1 == args.steps:
            score, wrong = held_out_score(state[3], shape, chat, questions)
            print(json.dumps({"step": step + 1, "loss": [round(float(v), 4) for v in np.mean(losses, 0)], "held_out": round(score, 3),
                "seconds": round(time.time() - started), "wrong": wrong if len(wrong) < 25 else len(wrong)}), flush=True)
            losses = []
            if score >= best:  # early stopping: the last best state is what is kept
                best = score
                write_model(args.out, shape, state[3], tokenizer, args.seed, step + 1, score)


if __name__ == "__main__":
    main()
