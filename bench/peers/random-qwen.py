#!/usr/bin/env python3
"""Makes a model of the shape of Qwen2.5-0.5B with random bf16 weights, as a Hugging Face folder and as the GGUF file of the same weights.

    random-qwen.py TOKENIZER OUT

TOKENIZER: a folder with Qwen2.5's tokenizer.json (or tokenizer.json.xz) and tokenizer_config.json. OUT/qwen-0.5b and OUT/qwen-0.5b-bf16.gguf
are written. The speed of an engine does not depend on the values; the text is noise. Needs the Python packages gguf and numpy.
"""
import json
import lzma
import os
import shutil
import struct
import sys

import gguf
import numpy as np

CONFIG = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "torch_dtype": "bfloat16", "hidden_act": "silu",
    "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24, "num_attention_heads": 14, "num_key_value_heads": 2,
    "vocab_size": 151936, "max_position_embeddings": 32768, "max_window_layers": 21, "use_sliding_window": False, "sliding_window": None,
    "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "tie_word_embeddings": True, "initializer_range": 0.02, "use_cache": True,
    "bos_token_id": 151643, "eos_token_id": 151645, "attention_dropout": 0.0,
}
HEAD_DIM = CONFIG["hidden_size"] // CONFIG["num_attention_heads"]


def shapes():
    """(Hugging Face name, GGUF name, shape) of every tensor, in the order of the files."""
    hidden, inner, kv = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["num_key_value_heads"] * HEAD_DIM
    yield "model.embed_tokens.weight", "token_embd.weight", (CONFIG["vocab_size"], hidden)
    for layer in range(CONFIG["num_hidden_layers"]):
        parts = [
            ("input_layernorm.weight", "attn_norm.weight", (hidden,)), ("post_attention_layernorm.weight", "ffn_norm.weight", (hidden,)),
            ("self_attn.q_proj.weight", "attn_q.weight", (hidden, hidden)), ("self_attn.q_proj.bias", "attn_q.bias", (hidden,)),
            ("self_attn.k_proj.weight", "attn_k.weight", (kv, hidden)), ("self_attn.k_proj.bias", "attn_k.bias", (kv,)),
            ("self_attn.v_proj.weight", "attn_v.weight", (kv, hidden)), ("self_attn.v_proj.bias", "attn_v.bias", (kv,)),
            ("self_attn.o_proj.weight", "attn_output.weight", (hidden, hidden)),
            ("mlp.gate_proj.weight", "ffn_gate.weight", (inner, hidden)), ("mlp.up_proj.weight", "ffn_up.weight", (inner, hidden)),
            ("mlp.down_proj.weight", "ffn_down.weight", (hidden, inner)),
        ]
        for ours, theirs, shape in parts:
            yield f"model.layers.{layer}.{ours}", f"blk.{layer}.{theirs}", shape
    yield "model.norm.weight", "output_norm.weight", (hidden,)


def values(name, shape, random):
    """bf16 bits: norms are 1, biases 0, matrices normal with the initialiser's width."""
    if name.endswith(("norm.weight", "bias")):
        return np.full(shape, 0x3F80 if name.endswith("norm.weight") else 0, "<u2")
    drawn = random.standard_normal(shape, np.float32) * np.float32(CONFIG["initializer_range"])
    return (drawn.view("<u4") >> 16).astype("<u2")


def write_folder(tokenizer, out, tensors):
    os.makedirs(out, exist_ok=True)
    offset, header = 0, {}
    for name, _, bits in tensors:
        header[name] = {"dtype": "BF16", "shape": list(bits.shape), "data_offsets": [offset, offset + bits.nbytes]}
        offset += bits.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(out, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, bits in tensors:
            f.write(bits.tobytes())
    with open(os.path.join(out, "config.json"), "w") as f:
        json.dump(CONFIG, f, indent=1)
    with open(os.path.join(out, "tokenizer.json"), "w") as f:
        json.dump(tokenizer, f, ensure_ascii=False)


def add_tokenizer(w, tokenizer):
    words = {**tokenizer["model"]["vocab"], **{t["content"]: t["id"] for t in tokenizer["added_tokens"]}}
    special = {t["id"]: t["special"] for t in tokenizer["added_tokens"]}
    by_id = {i: word for word, i in words.items()}
    ids = range(CONFIG["vocab_size"])
    kind = gguf.TokenType
    types = [kind.CONTROL if special.get(i) else kind.USER_DEFINED if i in special else kind.NORMAL if i in by_id else kind.UNUSED for i in ids]
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("qwen2")
    w.add_token_list([by_id.get(i, f"[PAD{i}]") for i in ids])
    w.add_token_types(types)
    w.add_token_merges(merges)
    w.add_bos_token_id(CONFIG["bos_token_id"])
    w.add_eos_token_id(CONFIG["eos_token_id"])
    w.add_add_bos_token(False)


def write_gguf(tokenizer, path, tensors):
    w = gguf.GGUFWriter(path, "qwen2")
    w.add_name("Qwen2.5-0.5B shape, random weights")
    w.add_context_length(CONFIG["max_position_embeddings"])
    w.add_embedding_length(CONFIG["hidden_size"])
    w.add_block_count(CONFIG["num_hidden_layers"])
    w.add_feed_forward_length(CONFIG["intermediate_size"])
    w.add_head_count(CONFIG["num_attention_heads"])
    w.add_head_count_kv(CONFIG["num_key_value_heads"])
    w.add_rope_freq_base(CONFIG["rope_theta"])
    w.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    w.add_file_type(gguf.LlamaFileType.MOSTLY_BF16)
    add_tokenizer(w, tokenizer)
    for _, name, bits in tensors:
        if bits.ndim == 1:  # llama.cpp wants norms and biases in float32
            w.add_tensor(name, (bits.astype(np.uint32) << 16).view(np.float32))
        else:
            w.add_tensor(name, bits.view(np.uint8), raw_dtype=gguf.GGMLQuantizationType.BF16)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def main(source, out):
    packed = os.path.join(source, "tokenizer.json.xz")
    with lzma.open(packed, "rt") if os.path.exists(packed) else open(os.path.join(source, "tokenizer.json")) as f:
        tokenizer = json.load(f)
    random = np.random.default_rng(0)
    tensors = [(ours, theirs, values(ours, shape, random)) for ours, theirs, shape in shapes()]
    folder = os.path.join(out, "qwen-0.5b")
    write_folder(tokenizer, folder, tensors)
    shutil.copyfile(os.path.join(source, "tokenizer_config.json"), os.path.join(folder, "tokenizer_config.json"))
    write_gguf(tokenizer, os.path.join(out, "qwen-0.5b-bf16.gguf"), tensors)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
