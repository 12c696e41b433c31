"""Checks the files of models/guide without the code that made them: `python scripts/train-guide/check.py [FOLDER]`.

Reads config.json, the bfloat16 safetensors, tokenizer.json and the chat template, computes the network in plain numpy (float32, KV cache) and answers
greedily. Fails when the files are too large, when fewer of the questions of test/e2e/guide.questions.json are right than that file asks for, or when
a question there is too close to one of the training text. `--held-out` asks the V lines of knowledge.txt too; `--ask TEXT` asks that alone.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import jinja2
import numpy as np
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
SIZE_MAX = 8_000_000  # bytes, the whole folder
LIKENESS_MAX = 0.8  # shared words of two questions over all their words (Jaccard)


def read_bf16(path: Path) -> dict[str, np.ndarray]:
    """name -> float32 array; bfloat16 is the upper half of a float32."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        assert entry["dtype"] == "BF16", f"{name} is {entry['dtype']}"
        start, end = (8 + length + offset for offset in entry["data_offsets"])
        halves = np.frombuffer(raw[start:end], "<u2").astype(np.uint32) << 16
        out[name] = halves.view(np.float32).reshape(entry["shape"])
    return out


class Guide:
    def __init__(self, folder: Path):
        self.config = json.loads((folder / "config.json").read_text())
        self.weights = read_bf16(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        template = json.loads((folder / "tokenizer_config.json").read_text())["chat_template"]
        self.template = jinja2.Environment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        self.stops = json.loads((folder / "generation_config.json").read_text())["eos_token_id"]

    def forward(self, ids: list[int], start: int, cache: list[list[np.ndarray]]) -> np.ndarray:
        """Logits after the last of `ids`, which stand at positions start …; `cache` has the keys and values of those before and is extended."""
        c, w = self.config, self.weights
        heads, kv_heads, dim = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
        position = np.arange(start, start + len(ids))
        angle = position[:, None] * c["rope_theta"] ** (-2.0 * np.arange(dim // 2) / dim)
        cos, sin = (np.concatenate([f(angle)] * 2, -1)[:, None] for f in (np.cos, np.sin))

        def norm(x, weight):
            return x / np.sqrt(np.mean(x * x, -1, keepdims=True) + c["rms_norm_eps"]) * weight

        def turn(x):
            return x * cos + np.concatenate([-x[..., dim // 2 :], x[..., : dim // 2]], -1) * sin

        x = w["model.embed_tokens.weight"][ids]
        for i in range(c["num_hidden_layers"]):
            at = f"model.layers.{i}."
            h = norm(x, w[at + "input_layernorm.weight"])
            q = turn((h @ w[at + "self_attn.q_proj.weight"].T).reshape(-1, heads, dim))
            k = turn((h @ w[at + "self_attn.k_proj.weight"].T).reshape(-1, kv_heads, dim))
            v = (h @ w[at + "self_attn.v_proj.weight"].T).reshape(-1, kv_heads, dim)
            if len(cache) <= i:
                cache.append([k, v])
            else:
                cache[i] = [np.concatenate([cache[i][0], k]), np.concatenate([cache[i][1], v])]
            k, v = cache[i]
            future = np.arange(len(k))[None] > position[:, None]
            o = np.empty_like(q)
            for head in range(heads):
                group = head // (heads // kv_heads)
                scores = np.where(future, -np.inf, q[:, head] @ k[:, group].T / np.sqrt(dim))
                p = np.exp(scores - scores.max(-1, keepdims=True))
                o[:, head] = p / p.sum(-1, keepdims=True) @ v[:, group]
            x = x + o.reshape(len(ids), -1) @ w[at + "self_attn.o_proj.weight"].T
            h = norm(x, w[at + "post_attention_layernorm.weight"])
            gate = h @ w[at + "mlp.gate_proj.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ w[at + "mlp.up_proj.weight"].T)) @ w[at + "mlp.down_proj.weight"].T
        return norm(x[-1], w["model.norm.weight"]) @ w["model.embed_tokens.weight"].T

    def answer(self, messages: list[dict[str, str]], max_tokens: int = 160) -> str:
        ids = self.tokenizer.encode(self.template.render(messages=messages, add_generation_prompt=True)).ids
        out, cache, at = [], [], 0
        while len(out) < max_tokens:
            best = int(np.argmax(self.forward(ids, at, cache)))
            if best in self.stops:
                break
            out.append(best)
            at, ids = at + len(ids), [best]
        return self.tokenizer.decode(out)


def is_right(rule: dict, answer: str) -> bool:
    def found(pattern):
        return re.search(pattern, answer, re.IGNORECASE) is not None

    any_of = rule.get("any", [])
    return all(map(found, rule["all"])) and (not any_of or any(map(found, any_of))) and not any(map(found, rule["none"]))


def words(question: str) -> frozenset[str]:
    return frozenset(re.findall(r"[\w./+-]*\w", question.lower()))


def nearest(questions: list[str]) -> list[tuple[float, str]]:
    """For each question the likest one of the training text, before that one is varied, and how like it is."""
    from corpus import all_plain_questions, read_topics

    trained = {words(q): q for topic in read_topics() for q in all_plain_questions(topic)}
    return [max((len(a & b) / len(a | b), text) for b, text in trained.items()) for a in map(words, questions)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "models" / "guide")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--ask", nargs="+", help="one conversation: each text is a question")
    parser.add_argument("--quiet", action="store_true", help="only counts, not the answers")
    args = parser.parse_args()
    guide = Guide(args.folder)
    if args.ask:
        messages = []
        for question in args.ask:
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": guide.answer(messages)})
            print(f"> {question}\n{messages[-1]['content']}")
        return
    if args.held_out:
        from corpus import Corpus

        questions = Corpus(0).held_out()
        wrong = [(t, q, got) for t, q, want in questions if (got := guide.answer([{"role": "user", "content": q}])) != want]
        for topic, question, got in wrong:
            print(f"held out, wrong: {topic}: {question} -> {got}")
        print(f"held-out questions answered word for word: {len(questions) - len(wrong)} of {len(questions)}")
    size = sum(f.stat().st_size for f in args.folder.iterdir())
    test = json.loads((ROOT / "test" / "e2e" / "guide.questions.json").read_text())
    right = 0
    for rule in test["questions"]:
        answer = guide.answer([{"role": "user", "content": rule["question"]}])
        right += is_right(rule, answer)
        if not args.quiet:
            print(f"{'right' if is_right(rule, answer) else 'WRONG'}  {rule['id']}: {rule['question']} -> {answer}")
    near = nearest([rule["question"] for rule in test["questions"]])
    like, text = max(near)
    print(f"{right} of {len(test['questions'])} right; likest training question {like:.2f} ({text!r}); {size:,} bytes")
    sys.exit(0 if right >= test["atLeast"] and like < LIKENESS_MAX and size <= SIZE_MAX else 1)


if __name__ == "__main__":
    main()
