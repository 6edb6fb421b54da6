"""Recording of a real forward pass: int8 activations, token scales, digests of reference sums, operand statistics.

``recording.safetensors`` holds, for every distinct linear input (q, k and v share one, gate and up share one),
``<input>.q`` int8 ``(tokens, k)`` and ``<input>.s`` float32 ``(tokens,)``. ``recording.json`` names for each linear its
input and the SHA-256 of its group sums computed by torch, so that a replay by any other implementation is compared
bit for bit without storing the sums. Nothing here needs torch.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from hw.artifact import atomic_path, sha256_file, write_artifact
from hw.document import Record, read_record
from hw.errors import InputError
from hw.formats import INT8_BITS

__all__ = [
    "FIRST_KINDS",
    "INPUT_OF_KIND",
    "LinearRecord",
    "OperandStatistics",
    "Recording",
    "decode_statistics",
    "input_name",
    "prefill_statistics",
    "read_recording",
    "recorded_from",
    "recording_rows",
    "sums_digest",
    "write_recording",
]

_SCHEMA, _VERSION = "tritforge.recording", 1
_REMEDY = "record again: make quant MODEL=..."

# Which of a layer's four distinct inputs a linear reads.
INPUT_OF_KIND = {
    "q_proj": "attention_in",
    "k_proj": "attention_in",
    "v_proj": "attention_in",
    "o_proj": "attention_out",
    "gate_proj": "mlp_in",
    "up_proj": "mlp_in",
    "down_proj": "mlp_out",
}

# One linear for each distinct input, the first that reads it.
FIRST_KINDS = ("q_proj", "o_proj", "gate_proj", "down_proj")


class OperandStatistics(Record):
    """Bit toggles per bit and issue: of the selected operand (+x, -x, 0) and of the activation before selection."""

    toggle_rate: float
    input_toggle_rate: float


class LinearRecord(Record):
    """One quantized linear of the recorded pass."""

    layer: int
    kind: str
    input: str  # prefix of its tensors in recording.safetensors
    n: int
    k: int
    planes: int
    group: int  # columns per sum; k where one sum spans the row
    sums_sha256: str  # see sums_digest
    zero_fraction: float
    prefill: OperandStatistics  # weights stay, tokens change
    decode: OperandStatistics  # one token, weights change


class _Header(Record):
    """Fields of ``recording.json``."""

    model: str
    method: str
    text: str
    tokens: int
    weights_sha256: str  # of the ternary.safetensors that ran
    tensors_sha256: str  # of recording.safetensors
    kv: str = "float"  # format of K and V that attention ran on, as quant.kv.formats spells it
    linears: list[LinearRecord]


class Recording(NamedTuple):
    """A recorded pass. ``inputs``: name -> (int8 ``(tokens, k)``, float32 ``(tokens,)``)."""

    model: str
    method: str
    text: str
    weights_sha256: str
    linears: list[LinearRecord]
    inputs: dict[str, tuple[np.ndarray, np.ndarray]]
    kv: str = "float"  # format of K and V that attention ran on

    def activations(self, record: LinearRecord) -> np.ndarray:
        """int8 ``(tokens, k)`` that the linear read."""
        return self.inputs[record.input][0]


def input_name(layer: int, kind: str) -> str:
    """Name of the input that linear ``kind`` of ``layer`` reads, e.g. ``layers.3.mlp_in``."""
    return f"layers.{layer}.{INPUT_OF_KIND[kind]}"


def sums_digest(sums: np.ndarray) -> str:
    """SHA-256 of group sums ``p[plane, m, n, g]`` as little-endian int32 in C order.

    Raises:
        ValueError: a sum that int32 cannot hold, or another number of axes.
    """
    sums = np.asarray(sums)
    if sums.ndim != 4:
        raise ValueError(f"sums must have axes (plane, m, n, g), not {sums.ndim} axes")
    if sums.size and max(-int(sums.min()), int(sums.max())) > np.iinfo(np.int32).max:
        raise ValueError("sums must fit int32")
    return hashlib.sha256(np.ascontiguousarray(sums, dtype="<i4").tobytes()).hexdigest()


def _toggles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Toggled bits between int8 operands in two's complement, elementwise."""
    return np.bitwise_count(a.view(np.uint8) ^ b.view(np.uint8))


def prefill_statistics(q: np.ndarray, trits: np.ndarray) -> OperandStatistics:
    """Toggles where a tile's weights stay and consecutive tokens pass: int8 ``(m, k)``, int8 ``(planes, n, k)``.

    Exact over all lanes: the operand of trit +1 toggles like q, that of -1 like -q, that of 0 never.
    """
    if q.shape[0] < 2:
        raise ValueError("prefill statistics need at least two tokens")
    plus = _toggles(q[1:], q[:-1]).mean(axis=0) / INT8_BITS  # (k,)
    minus = _toggles(-q[1:], -q[:-1]).mean(axis=0) / INT8_BITS
    share_plus = (trits == 1).mean(axis=(0, 1))
    share_minus = (trits == -1).mean(axis=(0, 1))
    selected = float((share_plus * plus + share_minus * minus).mean())
    return OperandStatistics(toggle_rate=selected, input_toggle_rate=float(plus.mean()))


def decode_statistics(q: np.ndarray, trits: np.ndarray, rows: int = 32, tokens: int = 2) -> OperandStatistics:
    """Toggles where every issue brings new weights: one token, consecutive folds of ``rows`` lanes.

    Lane r of a column sees inputs r, r + rows, r + 2 rows ... with their trits; where ``k`` has a single fold, lane r
    sees the same input under the trits of the next column tile, here the next output. Mean over the first ``tokens``
    tokens. int8 ``(m, k)``, int8 ``(planes, n, k)``.
    """
    k = q.shape[1]
    selected, entered = [], []
    for token in q[:tokens]:
        if k > rows:
            operands = trits * token  # (planes, n, k), int8 stays int8
            selected.append(_toggles(operands[..., rows:], operands[..., :-rows]).mean())
            entered.append(_toggles(token[rows:], token[:-rows]).mean())
        else:
            operands = trits * token
            changes = _toggles(operands[:, 1:], operands[:, :-1])
            selected.append(changes.mean() if changes.size else 0.0)
            entered.append(0.0)
    return OperandStatistics(
        toggle_rate=float(np.mean(selected)) / INT8_BITS, input_toggle_rate=float(np.mean(entered)) / INT8_BITS
    )


def write_recording(folder: Path, recording: Recording) -> None:
    """Write ``recording.safetensors``, then ``recording.json``, each whole or not at all."""
    folder = Path(folder)
    tensors = {}
    for name, (q, scale) in recording.inputs.items():
        tensors[f"{name}.q"] = np.ascontiguousarray(q, dtype=np.int8)
        tensors[f"{name}.s"] = np.ascontiguousarray(scale, dtype=np.float32)
    path = folder / "recording.safetensors"
    with atomic_path(path) as temporary:
        save_file(tensors, temporary)
    header = _Header(
        model=recording.model,
        method=recording.method,
        text=recording.text,
        tokens=next(iter(recording.inputs.values()))[0].shape[0],
        weights_sha256=recording.weights_sha256,
        tensors_sha256=sha256_file(path),
        linears=recording.linears,
        kv=recording.kv,
    )
    inputs = {"weights": header.weights_sha256, "tensors": header.tensors_sha256}
    write_artifact(folder / "recording.json", _SCHEMA, _VERSION, header.model_dump(), inputs, sealed=True)


def recording_rows(recording: Recording) -> list[dict]:
    """A row per input and token: where it enters, the token's scale, and the int8 values ``q`` (k) that linears read.

    ``linears``: the kinds that read the input, separated by commas; ``model``, ``method`` and ``kv`` as recorded.
    """
    rows = []
    for name, (q, scale) in recording.inputs.items():
        readers = [linear for linear in recording.linears if linear.input == name]
        known = {
            "model": recording.model,
            "method": recording.method,
            "kv": recording.kv,
            "layer": readers[0].layer,
            "input": name,
            "linears": ",".join(linear.kind for linear in readers),
        }
        rows += [known | {"token": token, "scale": float(scale[token]), "q": q[token]} for token in range(q.shape[0])]
    return rows


def recorded_from(folder: Path) -> tuple[str, str]:
    """Hash of the ``ternary.safetensors`` and format of K and V that a recording in ``folder`` was made with.

    Raises:
        InputError: a missing or damaged ``recording.json``.
    """
    header = read_record(Path(folder) / "recording.json", _SCHEMA, _VERSION, _Header, _REMEDY)
    return header.weights_sha256, header.kv


def read_recording(folder: Path) -> Recording:
    """Read the two files of a recording: of a folder, or of the header that is given, whose name may be another.

    Raises:
        InputError: a missing, damaged or mismatching file.
    """
    source = Path(folder)
    header_file = source if source.is_file() else source / "recording.json"
    header = read_record(header_file, _SCHEMA, _VERSION, _Header, _REMEDY)
    path = header_file.with_suffix(".safetensors")
    try:
        if sha256_file(path) != header.tensors_sha256:
            raise InputError(f"{path}: does not belong to {header_file.name} beside it; {_REMEDY}")
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, TypeError, AttributeError) as error:  # or a type that NumPy lacks
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: cannot be read ({reason}); {_REMEDY}") from None
    inputs = {record.input: _input(tensors, record, path) for record in header.linears}
    origin = header.model, header.method, header.text, header.weights_sha256
    return Recording(*origin, header.linears, inputs, header.kv)


def _input(tensors: dict[str, np.ndarray], record: LinearRecord, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Activations and scales that a linear read.

    Raises:
        InputError: tensors that are missing, or of another type or size than the linear.
    """
    q, scale = (tensors.get(f"{record.input}.{part}") for part in ("q", "s"))
    if q is None or scale is None:
        raise InputError(f"{path}: holds no input {record.input!r}; {_REMEDY}")
    if q.dtype != np.int8 or q.ndim != 2 or q.shape[1] != record.k or scale.shape != q.shape[:1]:
        raise InputError(
            f"{path}: input {record.input!r} must be int8 (tokens, {record.k}) with a scale per token, not "
            f"{q.dtype} {q.shape} with {scale.shape}; {_REMEDY}"
        )
    return q, scale
