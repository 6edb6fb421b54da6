"""GGUF files with ternary tensors, their codes packed by slow loops after llama.cpp's and bitnet.cpp's sources."""

from pathlib import Path

import gguf
import numpy as np
import torch

from tests.quant.tiny import VOCABULARY

I2_S = 36


def i2_s(trits: np.ndarray, scale: float) -> bytes:
    """bitnet.cpp on x86: weight j of a block of 128 in byte j % 32, bits 6 - 2 (j // 32); scale after the codes."""
    codes = trits.reshape(-1) + 1
    packed = bytearray(codes.size // 4)
    for number, code in enumerate(codes):
        block, j = divmod(number, 128)
        packed[32 * block + j % 32] |= int(code) << (6 - 2 * (j // 32))
    return bytes(packed) + np.float32(scale).tobytes() + bytes(28)


def tq2_0(trits: np.ndarray, scales: np.ndarray) -> bytes:
    """llama.cpp's ``block_tq2_0``: two halves of 32 bytes, byte m of a half holds weights m, 32 + m, 64 + m, 96 + m."""
    out = bytearray()
    for block, scale in zip(trits.reshape(-1, 256), scales.reshape(-1), strict=True):
        for half in block.reshape(2, 128):
            out += bytes(sum((int(half[m + 32 * lane]) + 1) << (2 * lane) for lane in range(4)) for m in range(32))
        out += np.float16(scale).tobytes()
    return bytes(out)


def tq1_0_trits(data: bytes) -> tuple[list[int], float]:
    """llama.cpp's ``dequantize_row_tq1_0`` of one block: trits, and the scale."""
    trits: list[int] = []
    for first, width, digits in ((0, 32, 5), (32, 16, 5), (48, 4, 4)):
        for digit in range(digits):
            for m in range(width):
                q = (data[first + m] * 3**digit) & 0xFF
                trits.append(((q * 3) >> 8) - 1)
    return trits, float(np.frombuffer(data[52:54], np.float16)[0])


def pairs(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rotary halves of each head as the neighbouring rows that LLaMA's GGUF files have."""
    half = rows.shape[0] // heads // 2
    order = [head * 2 * half + i + part * half for head in range(heads) for i in range(half) for part in (0, 1)]
    return rows[order]


def write_gguf(path: Path, architecture: str, model: torch.nn.Module, linears: dict[str, tuple]) -> Path:
    """A model of transformers' as a GGUF file; ``linears``: (bytes, (n, k), type) by transformers' weight name."""
    config = model.config
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(VOCABULARY)
    writer.add_tokenizer_model("gpt2")
    characters = ["w", *"0123456789", "\u0120"]  # byte-level pieces; the last stands for a space
    words = [f"w{digit}" for digit in range(10)]
    rest = [f"x{i}" for i in range(VOCABULARY - len(characters) - len(words))]
    writer.add_token_list([*characters, *words, *rest])
    writer.add_token_types([1] * VOCABULARY)
    writer.add_token_merges([f"w {digit}" for digit in range(10)])
    names = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}
    parts = {
        "input_layernorm": "attn_norm",
        "post_attention_layernorm": "ffn_norm",
        "attn_sub_norm": "attn_sub_norm",
        "ffn_sub_norm": "ffn_sub_norm",
        **dict(zip(("q_proj", "k_proj", "v_proj"), ("attn_q", "attn_k", "attn_v"), strict=True)),
        **dict(
            zip(
                ("o_proj", "gate_proj", "up_proj", "down_proj"),
                ("attn_output", "ffn_gate", "ffn_up", "ffn_down"),
                strict=True,
            )
        ),
    }
    # bitnet.cpp's fork numbers a type that the package lacks: its sizes are written into the header by hand.
    for name, value in model.named_parameters():
        part = name.split(".")[-2]
        block = name.split(".")[2] if ".layers." in name else None
        target = f"{names[part]}.weight" if block is None else f"blk.{block}.{parts[part]}.weight"
        if name in linears:
            data, shape, kind = linears[name]
            _add_raw(writer, target, data, shape, kind)
        else:
            writer.add_tensor(target, value.detach().float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_raw(writer: gguf.GGUFWriter, name: str, data: bytes, shape: tuple[int, int], kind: int) -> None:
    array = np.frombuffer(data, np.uint8)
    if kind == I2_S:
        info = gguf.gguf_writer.TensorInfo(shape=shape, dtype=I2_S, nbytes=len(data), tensor=array)
        writer.tensors[-1][name] = info
    else:
        writer.add_tensor(name, array.reshape(shape[0], -1), raw_dtype=gguf.GGMLQuantizationType(kind))
