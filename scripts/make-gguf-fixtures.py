#!/usr/bin/env python3
"""Makes GGUF files of the tiny models, with the tensor names, shapes, permutations and keys that llama.cpp's converter uses.

    make-gguf-fixtures.py TINY_MODELS OUT

TINY_MODELS: folders in Hugging Face layout (config.json, model.safetensors), beside the folder stories260K, whose GGUF file gives the
tokenizer.* keys. OUT: one NAME-f32.gguf a model, and mistral-8h2kv-sw8-TYPE.gguf for every type that the gguf package can quantise. Types that it can only
dequantise: random-TYPE.gguf, a Llama of random blocks, beside a folder random-TYPE with the same weights as float32 safetensors; and
random-q4_k_m, where v, down and the embedding have 6 bits, as llama-quantize's mix of that name has them.
Needs the Python packages gguf and numpy. OPT has no GGUF form.
"""
import json
import math
import os
import re
import shutil
import struct
import sys

import numpy as np
import gguf
from gguf import GGMLQuantizationType as T
from gguf import quants

ARCHITECTURES = {
    "LlamaForCausalLM": "llama", "MistralForCausalLM": "llama", "MixtralForCausalLM": "llama", "Qwen2ForCausalLM": "qwen2",
    "Qwen3ForCausalLM": "qwen3", "Qwen3MoeForCausalLM": "qwen3moe", "Gemma2ForCausalLM": "gemma2", "Gemma3ForCausalLM": "gemma3",
    "Phi3ForCausalLM": "phi3", "GPT2LMHeadModel": "gpt2",
}
TOP = {
    "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight",
    "transformer.wte.weight": "token_embd.weight", "transformer.wpe.weight": "position_embd.weight",
    "transformer.ln_f.weight": "output_norm.weight", "transformer.ln_f.bias": "output_norm.bias",
}
PARTS = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
    "self_attn.qkv_proj": "attn_qkv", "mlp.gate_up_proj": "ffn_up", "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate": "ffn_gate_inp",
    "block_sparse_moe.gate": "ffn_gate_inp", "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}
GEMMA_PARTS = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
EXPERT_PARTS = {"w1": "ffn_gate_exps", "w2": "ffn_down_exps", "w3": "ffn_up_exps", "gate_proj": "ffn_gate_exps", "down_proj": "ffn_down_exps", "up_proj": "ffn_up_exps"}


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        raw = data[slice(*entry["data_offsets"])]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
        else:
            values = np.frombuffer(raw, {"F32": "<f4", "F16": "<f2"}[entry["dtype"]]).astype(np.float32)
        out[name] = values.reshape(entry["shape"])
    return out


def interleave(w, heads):
    """Half-split rotary order -> adjacent pairs, as the converter's LlamaModel.permute."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def convert(config, tensors, arch):
    out, experts = {}, {}
    for name, w in tensors.items():
        if name in TOP:
            out[TOP[name]] = w
            continue
        layer, rest = re.match(r"(?:model\.layers|transformer\.h)\.(\d+)\.(.*)", name).groups()
        expert = re.match(r"(?:mlp|block_sparse_moe)\.experts\.(\d+)\.(\w+)\.weight", rest)
        if expert:
            experts.setdefault(f"blk.{layer}.{EXPERT_PARTS[expert[2]]}.weight", {})[int(expert[1])] = w
            continue
        part, suffix = rest.rsplit(".", 1)
        ours = GEMMA_PARTS.get(part) if arch.startswith("gemma") else None
        if arch == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            w = interleave(w, config["num_attention_heads"] if "q_proj" in part else config["num_key_value_heads"])
        if arch == "gpt2" and suffix == "weight" and w.ndim == 2:
            w = w.T
        out[f"blk.{layer}.{ours or PARTS[part]}.{suffix}"] = w
    for name, parts in experts.items():
        out[name] = np.stack([parts[e] for e in range(len(parts))])
    if arch.startswith("gemma"):
        out = {name: w + 1 if name.endswith("norm.weight") else w for name, w in out.items()}
    return out


def rope_factors(config):
    s, dim = config["rope_scaling"], config["head_dim"]
    low, high, old = s["low_freq_factor"], s["high_freq_factor"], s["original_max_position_embeddings"]
    factors = []
    for i in range(0, dim, 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (i / dim)
        if wavelength < old / high:
            factors.append(1)
        elif wavelength > old / low:
            factors.append(s["factor"])
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / s["factor"] + smooth))
    return np.array(factors, dtype=np.float32)


def add_keys(w, config, arch, out):
    if arch == "gpt2":
        w.add_context_length(config["n_positions"])
        w.add_embedding_length(config["n_embd"])
        w.add_block_count(config["n_layer"])
        w.add_feed_forward_length(4 * config["n_embd"])
        w.add_head_count(config["n_head"])
        w.add_layer_norm_eps(config["layer_norm_epsilon"])
        return
    heads, hidden = config["num_attention_heads"], config["hidden_size"]
    head_dim = config.get("head_dim") or hidden // heads
    w.add_context_length(config["max_position_embeddings"])
    w.add_embedding_length(hidden)
    w.add_block_count(config["num_hidden_layers"])
    w.add_feed_forward_length(config["intermediate_size"])
    w.add_head_count(heads)
    w.add_head_count_kv(config["num_key_value_heads"])
    w.add_layer_norm_rms_eps(config["rms_norm_eps"])
    w.add_rope_freq_base(config["rope_theta"])
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(int(head_dim * config.get("partial_rotary_factor", 1)))
    if config.get("num_experts_per_tok"):
        w.add_expert_count(config.get("num_local_experts") or config["num_experts"])
        w.add_expert_used_count(config["num_experts_per_tok"])
    if "moe_intermediate_size" in config:
        w.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        w.add_sliding_window(config["sliding_window"])
    if arch == "gemma2":
        w.add_attn_logit_softcapping(config["attn_logit_softcapping"])
        w.add_final_logit_softcapping(config["final_logit_softcapping"])
    if arch.startswith("gemma"):
        w.add_attention_scale(config["query_pre_attn_scalar"] ** -0.5)
    if arch == "gemma3":
        w.add_array("gemma3.attention.sliding_window_pattern", [t == "sliding_attention" for t in config["layer_types"]])
        w.add_float32("gemma3.rope.freq_base_swa", config["rope_local_base_freq"])
    add_scaling(w, config, arch, out)


def add_scaling(w, config, arch, out):
    scaling = config.get("rope_scaling") or {}
    kind = scaling.get("rope_type") or scaling.get("type")
    if kind == "llama3":
        out["rope_freqs.weight"] = rope_factors(config)
    elif kind == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(scaling["factor"])
    elif kind == "yarn":
        w.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        w.add_rope_scaling_factor(scaling["factor"])
        w.add_rope_scaling_orig_ctx_len(scaling["original_max_position_embeddings"])
    elif kind == "longrope":
        longest, original = config["max_position_embeddings"], config["original_max_position_embeddings"]
        w.add_rope_scaling_orig_ctx_len(original)
        w.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(longest / original) / math.log(original)))
        out["rope_factors_long.weight"] = np.array(scaling["long_factor"], dtype=np.float32)
        out["rope_factors_short.weight"] = np.array(scaling["short_factor"], dtype=np.float32)


def add_tokenizer(w, tokenizer):
    for field in tokenizer.fields.values():
        if field.name.startswith("tokenizer."):
            sub = field.types[1] if len(field.types) > 1 else None
            w.add_key_value(field.name, field.contents(), field.types[0], sub_type=sub)


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def write(folder, tokenizer, path, kind):
    config = json.load(open(os.path.join(folder, "config.json")))
    arch = ARCHITECTURES[config["architectures"][0]]
    out = convert(config, read_safetensors(os.path.join(folder, "model.safetensors")), arch)
    w = gguf.GGUFWriter(path, arch)
    add_keys(w, config, arch, out)
    add_tokenizer(w, tokenizer)
    for name, values in out.items():
        values = np.ascontiguousarray(values, dtype=np.float32)
        if kind == T.F32 or values.ndim < 2:
            w.add_tensor(name, values)
        else:
            w.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)
    finish(w)


# Bytes of a block, and the f16 scales in it: (offset, largest value), chosen so that weights come out near 0.05.
RANDOM_TYPES = {
    T.Q2_K: (84, [(80, 0.004), (82, 0.008)]), T.Q3_K: (110, [(108, 0.0008)]), T.Q4_K: (144, [(0, 0.0003), (2, 0.002)]),
    T.Q5_K: (176, [(0, 0.00015), (2, 0.002)]), T.Q6_K: (210, [(208, 0.00002)]), T.IQ4_NL: (18, [(0, 0.0008)]),
}


def random_blocks(rng, kind, rows, cols):
    size, scales = RANDOM_TYPES[kind]
    raw = rng.integers(0, 256, (rows * cols // (32 if kind == T.IQ4_NL else 256), size), dtype=np.uint8)
    for offset, largest in scales:
        values = rng.uniform(largest / 2, largest, len(raw)).astype("<f2")
        raw[:, offset:offset + 2] = values.view(np.uint8).reshape(-1, 2)
    return raw.reshape(rows, -1)


def write_safetensors(path, tensors):
    header, end = {}, 0
    for name, w in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": [end, end + w.nbytes]}
        end += w.nbytes
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for w in tensors.values():
            f.write(w.tobytes())


def q4_k_m(name):
    return T.Q6_K if any(part in name for part in ("attn_v", "ffn_down", "token_embd")) else T.Q4_K


def write_random(tokenizer, tokenizer_folder, out, name, kind_of):
    name = f"random-{name}"
    folder = os.path.join(out, name)
    os.makedirs(folder, exist_ok=True)
    rng = np.random.default_rng(1)
    config = {
        "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2,
    }
    shapes = {"self_attn.q_proj": (256, 256), "self_attn.k_proj": (128, 256), "self_attn.v_proj": (128, 256), "self_attn.o_proj": (256, 256),
              "mlp.gate_proj": (512, 256), "mlp.up_proj": (512, 256), "mlp.down_proj": (256, 512)}
    w = gguf.GGUFWriter(folder + ".gguf", "llama")
    add_keys(w, config, "llama", {})
    add_tokenizer(w, tokenizer)
    plain = {}

    def vector(name, theirs):
        plain[theirs] = rng.uniform(0.5, 1.5, 256).astype(np.float32)
        w.add_tensor(name, plain[theirs])

    def matrix(name, theirs, rows, cols, heads=0):
        kind = kind_of(name)
        raw = random_blocks(rng, kind, rows, cols)
        w.add_tensor(name, raw, raw_dtype=kind)
        values = quants.dequantize(raw, kind).astype(np.float32)
        if heads:
            values = values.reshape(heads, rows // heads // 2, 2, cols).swapaxes(1, 2).reshape(rows, cols)
        plain[theirs] = np.ascontiguousarray(values)

    matrix("token_embd.weight", "model.embed_tokens.weight", 512, 256)
    for i in range(2):
        for part, (rows, cols) in shapes.items():
            heads = {"self_attn.q_proj": 4, "self_attn.k_proj": 2}.get(part, 0)
            matrix(f"blk.{i}.{PARTS[part]}.weight", f"model.layers.{i}.{part}.weight", rows, cols, heads)
        for part in ("input_layernorm", "post_attention_layernorm"):
            vector(f"blk.{i}.{PARTS[part]}.weight", f"model.layers.{i}.{part}.weight")
    vector("output_norm.weight", "model.norm.weight")
    finish(w)
    write_safetensors(os.path.join(folder, "model.safetensors"), plain)
    json.dump(config, open(os.path.join(folder, "config.json"), "w"))
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(os.path.join(tokenizer_folder, file), os.path.join(folder, file))


def main():
    models, out = sys.argv[1:]
    os.makedirs(out, exist_ok=True)
    tokenizer = gguf.GGUFReader(os.path.join(models, "..", "stories260K", "gguf", "stories260K-f32.gguf"))
    for name in sorted(os.listdir(models)):
        folder = os.path.join(models, name)
        config = os.path.join(folder, "config.json")
        if os.path.isfile(config) and json.load(open(config))["architectures"][0] in ARCHITECTURES:
            write(folder, tokenizer, os.path.join(out, f"{name}-f32.gguf"), T.F32)
    for kind in (T.F16, T.BF16, T.Q8_0, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1):
        name = "mistral-8h2kv-sw8"
        write(os.path.join(models, name), tokenizer, os.path.join(out, f"{name}-{kind.name.lower()}.gguf"), kind)
    for kind in RANDOM_TYPES:
        write_random(tokenizer, os.path.join(models, "..", "stories260K", "hf-f32"), out, kind.name.lower(), lambda _, kind=kind: kind)
    write_random(tokenizer, os.path.join(models, "..", "stories260K", "hf-f32"), out, "q4_k_m", q4_k_m)


if __name__ == "__main__":
    main()
