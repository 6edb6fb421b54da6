"""BitNet b1.58 directories as transformers reads them: trits and the one scale of each decoder linear.

``quantization_config`` of config.json says how (``transformers.integrations.bitnet``), s being the scale that a trit
stands for:

    linear_class   quantization_mode   weight                             s
    bitlinear      either              four trits a byte                  1 / weight_scale
    autobitlinear  offline             four trits a byte, or plain trits  weight_scale
    autobitlinear  online              master weights w                   mean |w|; trits are clip(round(w / s), -1, 1)

Byte (r, c) of a packed weight holds the codes trit + 1 of rows r, r + n / 4, r + n / 2 and r + 3 n / 4, lowest bits
first. Config files of the first models name ``BitnetForCausalLM`` instead of a ``quantization_config``: online.
"""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from hw.errors import InputError
from quant.native.bitnet_config import BitnetForm
from quant.safetensors_files import stored_tensors

__all__ = ["BitnetFolder", "OneScale"]

_CODES_PER_BYTE = 4
_LEAST_MEAN = 1e-5  # transformers' lower bound on mean |w|


class OneScale(NamedTuple):
    """A linear: trits int8 ``(n, k)`` and the float32 value of +1."""

    trits: Tensor
    scale: float


class BitnetFolder:
    """The tensors of a BitNet directory, read one by one."""

    def __init__(self, path: Path, form: BitnetForm) -> None:
        """Open every safetensors file's header.

        Raises:
            InputError: what ``quant.safetensors_files`` refuses, such as a tensor that two files hold.
        """
        self.path, self.form = path, form
        self._files = {name: tensor.file for name, tensor in stored_tensors(path).items()}

    def linear(self, name: str, shape: tuple[int, int]) -> OneScale:
        """The decoder linear whose module has this name and these ``(n, k)``.

        Raises:
            InputError: a tensor that is missing, of another size, or holds what is no trit.
        """
        weight, (n, k) = self._read(f"{name}.weight"), shape
        where = f"{self.path}: tensor '{name}.weight'"
        if self.form.online:
            _check_size(weight, (n, k), where)
            scale = 1.0 / weight.float().abs().mean().clamp(min=_LEAST_MEAN)
            return OneScale((weight.float() * scale).round().clamp(-1, 1).to(torch.int8), (1.0 / scale).item())
        if weight.dtype == torch.uint8:
            _check_size(weight, (n // _CODES_PER_BYTE, k), f"{where} (four trits a byte of {n} x {k})")
            trits = torch.cat([(weight >> shift) & 3 for shift in (0, 2, 4, 6)]).to(torch.int8) - 1
        elif self.form.linear_class == "autobitlinear":
            _check_size(weight, (n, k), where)
            trits = weight.float()
        else:
            raise InputError(f"{where} must be packed trits (uint8) for linear_class 'bitlinear', not {weight.dtype}")
        if not torch.isin(trits, torch.tensor([-1, 0, 1], dtype=trits.dtype)).all():
            raise InputError(f"{where} must hold trits, not values up to {trits.max().item():g}: fetch the file again")
        stored = self._read(f"{name}.weight_scale").float()
        if stored.numel() != 1 or not torch.isfinite(stored).all() or stored.item() == 0:
            raise InputError(
                f"{self.path}: tensor '{name}.weight_scale' must be one finite number, not 0 or {stored.numel()}"
            )
        scale = stored if self.form.linear_class == "autobitlinear" else 1.0 / stored
        return OneScale(trits.to(torch.int8), scale.item())

    def bias(self, name: str) -> Tensor | None:
        """What the module of this name adds to its product with the scaled trits; None where it has no bias.

        Offline ``AutoBitLinear`` multiplies its bias by the scale too.
        """
        if f"{name}.bias" not in self._files:
            return None
        bias = self._read(f"{name}.bias").float()
        scaled = self.form.linear_class == "autobitlinear" and not self.form.online
        return bias * self._read(f"{name}.weight_scale").float() if scaled else bias

    def beside(self, linears: set[str]) -> dict[str, Tensor]:
        """Every tensor that belongs to none of these modules, by transformers' name, in the file's type."""
        own = {f"{name}.{part}" for name in linears for part in ("weight", "weight_scale", "bias")}
        names = (name for name in self._files if name not in own)
        return {self.form.transformers_name(name): self._read(name) for name in names}

    def _read(self, name: str) -> Tensor:
        if name not in self._files:
            raise InputError(f"{self.path}: tensor {name!r} is missing")
        with safe_open(self._files[name], framework="pt") as opened:
            return opened.get_tensor(name)


def _check_size(weight: Tensor, size: tuple[int, int], where: str) -> None:
    if tuple(weight.shape) != size:
        raise InputError(f"{where} must be {size[0]} x {size[1]}, not {' x '.join(map(str, weight.shape))}")
