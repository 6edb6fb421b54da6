"""Hugging Face directories: dense weights for every method, and BitNet's packed trits for one scale per tensor."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from hw.errors import InputError
from quant.exports.finished import Finished
from quant.exports.fit import one_plane
from quant.llama.adapt import file_state
from quant.llama.blocks import linear_name
from quant.llama.loading import save_tokenizer

__all__ = ["write_bitnet", "write_dense"]

_CODES_PER_BYTE = 4
_BITNET = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}


def write_dense(run: Finished, folder: Path) -> str:
    """Every weight as the float32 number that it stands for; the logits are those of the run with float activations."""
    _write(run, folder, _tensors(run), {})
    return "float32: logits with float activations (A16) are those of the run"


def write_bitnet(run: Finished, folder: Path) -> str:
    """transformers' ``AutoBitLinear``, offline: four trits a byte, one scale per tensor, activations rounded to int8.

    Raises:
        InputError: a linear that the format does not hold, with the setting that would fit.
    """
    tensors = _tensors(run)
    for layer, kind in run.checkpoint:
        name = linear_name(layer, kind)
        solution = one_plane(run, layer, kind, "bitnet")
        if f"{name}.weight" not in tensors:
            raise InputError(f"{name}: format bitnet must have this linear by itself, as LLaMAs do; export as hf")
        if solution.scale_kind != "tensor":
            raise InputError(
                f"{name}: format bitnet must have one scale per tensor, not one per "
                f"{'row' if solution.group is None else f'group of {solution.group}'} (method {run.manifest.method}); "
                "quantize with --method rtn --options scale=tensor, or export as hf"
            )
        if solution.n % _CODES_PER_BYTE:
            raise InputError(
                f"{name}: format bitnet must have a multiple of four outputs, not {solution.n}; export as hf"
            )
        if f"{name}.bias" in tensors:
            raise InputError(f"{name}: format bitnet would scale the bias of this linear; export as hf")
        tensors[f"{name}.weight"] = _four_a_byte(solution.trits[0])
        tensors[f"{name}.weight_scale"] = solution.scales[0, 0].float()
    _write(run, folder, tensors, {"quantization_config": _BITNET})
    return "trits and scales exact; activations are rounded to int8 as on the array (A8)"


def _tensors(run: Finished) -> dict[str, Tensor]:
    return {name: value.detach().contiguous() for name, value in file_state(run.loaded.model).items()}


def _four_a_byte(trits: Tensor) -> Tensor:
    """uint8 ``(n / 4, k)``: codes trit + 1 of rows r, r + n / 4, r + n / 2 and r + 3 n / 4, lowest bits first."""
    quarters = (trits + 1).to(torch.uint8).chunk(_CODES_PER_BYTE)
    return quarters[0] | quarters[1] << 2 | quarters[2] << 4 | quarters[3] << 6


def _write(run: Finished, folder: Path, tensors: dict[str, Tensor], settings: dict[str, object]) -> None:
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    config = run.loaded.model.config
    config.dtype = torch.float32
    for name, value in settings.items():
        setattr(config, name, value)
    config.save_pretrained(folder)
    save_tokenizer(run.loaded.path, run.loaded.shape, folder)
