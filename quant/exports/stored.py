"""How many bytes of an exported file hold the decoder linears, which are what quantization shrinks."""

import re
from pathlib import Path

from gguf import GGUFReader

from quant.safetensors_files import stored_tensors

__all__ = ["linear_bytes"]

_HF = re.compile(r"\.(q|k|v|o|gate|up|down|qkv|gate_up)_proj\.(weight|weight_scale)$")
_GGUF = re.compile(r"^blk\.\d+\.(attn_(q|k|v|output)|ffn_(gate|up|down))\.(weight|scale)$")


def linear_bytes(path: Path) -> int:
    """Bytes of their weights and scales in a .gguf or .safetensors file; biases of the model are not counted."""
    if path.suffix == ".gguf":
        return sum(int(one.n_bytes) for one in GGUFReader(path).tensors if _GGUF.search(one.name))
    return sum(one.end - one.start for name, one in stored_tensors(path.parent).items() if _HF.search(name))
