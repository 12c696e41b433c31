"""Writes the trained network in Hugging Face layout: bfloat16 safetensors, tokenizer, template and configuration.

Owns: names and layout of the files in models/guide (the model card, README.md there, is kept by hand).
"""

import json
from pathlib import Path

import jax.numpy as jnp
import ml_dtypes
import numpy as np

from vocabulary import CHAT_TEMPLATE, END, START, STOP

# Ours -> Hugging Face, per layer. Linear weights there are [out, in].
LAYER_NAMES = {
    "norm1": "input_layernorm", "q": "self_attn.q_proj", "k": "self_attn.k_proj", "v": "self_attn.v_proj", "o": "self_attn.o_proj",
    "norm2": "post_attention_layernorm", "gate": "mlp.gate_proj", "up": "mlp.up_proj", "down": "mlp.down_proj",
}


def tensors_of(params) -> dict[str, np.ndarray]:
    out = {"model.embed_tokens.weight": np.asarray(params["embed"]), "model.norm.weight": np.asarray(params["norm"])}
    for ours, theirs in LAYER_NAMES.items():
        for i, value in enumerate(np.asarray(params["layers"][ours])):
            out[f"model.layers.{i}.{theirs}.weight"] = value.T if value.ndim == 2 else value
    return out


def params_of(tensors: dict[str, np.ndarray], layers: int) -> dict:
    """The inverse of `tensors_of`."""
    def stacked(name):
        values = [tensors[f"model.layers.{i}.{name}.weight"] for i in range(layers)]
        return jnp.asarray(np.stack([v.T if v.ndim == 2 else v for v in values]))

    return {"embed": jnp.asarray(tensors["model.embed_tokens.weight"]), "norm": jnp.asarray(tensors["model.norm.weight"]),
        "layers": {ours: stacked(theirs) for ours, theirs in LAYER_NAMES.items()}}


def write_safetensors(path: Path, tensors: dict[str, np.ndarray]):
    """8 bytes length, a JSON header, then the values; offsets count from the end of the header. The header is padded to a multiple of 8."""
    header, values, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name in sorted(tensors):
        data = np.ascontiguousarray(tensors[name].astype(ml_dtypes.bfloat16))
        header[name] = {"dtype": "BF16", "shape": list(data.shape), "data_offsets": [at, at + data.nbytes]}
        values.append(data.tobytes())
        at += data.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(values))


def write_json(path: Path, value):
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def write_model(out: Path, shape, params, tokenizer, seed: int, steps: int, held_out: float):
    out.mkdir(parents=True, exist_ok=True)
    start, stop, end = (tokenizer.token_to_id(t) for t in (START, STOP, END))
    write_safetensors(out / "model.safetensors", tensors_of(params))
    tokenizer.save(str(out / "tokenizer.json"))
    write_json(out / "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "added_tokens_decoder": {
            str(i): {"content": t, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
            for i, t in sorted([(end, END), (start, START), (stop, STOP)])},
        "bos_token": None, "eos_token": STOP, "pad_token": END, "unk_token": None, "clean_up_tokenization_spaces": False,
        "model_max_length": shape.max_positions, "chat_template": CHAT_TEMPLATE,
    })
    write_json(out / "config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": shape.vocab, "hidden_size": shape.hidden,
        "intermediate_size": shape.ffn, "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "num_key_value_heads": shape.kv_heads,
        "head_dim": shape.head_dim, "hidden_act": "silu", "rms_norm_eps": shape.eps, "rope_theta": shape.rope_theta, "rope_scaling": None,
        "max_position_embeddings": shape.max_positions, "attention_bias": False, "mlp_bias": False, "attention_dropout": 0.0, "initializer_range": 0.05,
        "tie_word_embeddings": True, "bos_token_id": None, "eos_token_id": stop, "pad_token_id": end, "torch_dtype": "bfloat16", "use_cache": True,
    })
    # A demonstration should say what it was taught: greedy unless a request asks otherwise.
    write_json(out / "generation_config.json", {"eos_token_id": [stop, end], "pad_token_id": end, "do_sample": False, "temperature": 0.0})
    write_json(out / "training.json", {"seed": seed, "steps": steps, "held_out_exact": round(held_out, 4), "script": "scripts/train-guide/train.py"})
