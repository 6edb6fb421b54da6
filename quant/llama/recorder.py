"""Records one real forward pass of a quantized model: int8 activations, and group sums by torch's integers."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from hw.process.threads import usable_cpus
from hw.progress import CountReport
from quant.kv.formats import KvFormat
from quant.llama.blocks import (
    LoadedModel,
    block_inputs,
    block_linears,
    blocks,
    embed,
    int8_activations,
    quantize_tokens,
    run_block,
    working_block,
)
from quant.llama.cached import cached_attention
from quant.recording import (
    FIRST_KINDS,
    LinearRecord,
    OperandStatistics,
    Recording,
    decode_statistics,
    input_name,
    prefill_statistics,
    sums_digest,
)
from quant.weights.checkpoint import Checkpoint, TernaryLinear

__all__ = ["integer_sums", "record_pass"]

_INT8_LARGEST = 127
_MOST_THREADS = 8  # each holds the sums of one linear, 0.1 GB of LLaMA-2-7B's largest


@torch.no_grad()
def record_pass(
    loaded: LoadedModel,
    checkpoint: Checkpoint,
    weights_sha256: str,
    tokens: Sequence[int],
    method: str,
    text: str,
    progress: CountReport | None = None,
    kv: KvFormat | None = None,
) -> Recording:
    """Run ``tokens`` through the model, whose linears already hold the checkpoint's weights, in int8 activations.

    ``kv``: how K and V are kept, None in float.

    The sums are taken with torch on whole numbers, apart from ``hw.golden`` and from the simulator, which must both
    reproduce them.
    """
    model = loaded.model
    device = next(model.parameters()).device
    hidden = embed(model, torch.tensor(tokens, device=device)[None])
    inputs: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for layer in range(len(blocks(model))):
        block = working_block(model, layer)
        # The hooks that keep the inputs come first, so they see the float values before the int8 hooks round them.
        with (
            cached_attention(model, kv),
            block_inputs(block_linears(block, layer)) as seen,
            int8_activations(block),
        ):
            hidden = run_block(model, block, hidden)
        for kind in FIRST_KINDS:
            q, scale = quantize_tokens(seen[kind][0].cpu())
            inputs[input_name(layer, kind)] = (q.numpy(), scale.numpy())

    def record(place: tuple[int, str]) -> LinearRecord:
        linear = checkpoint.linear(*place)
        return _record(*place, linear, linear.columns(inputs[input_name(*place)][0]))

    records = []
    # NumPy, torch and hashing let go of the interpreter's lock.
    with ThreadPoolExecutor(min(_MOST_THREADS, usable_cpus())) as threads:
        for number, one in enumerate(threads.map(record, checkpoint)):
            records.append(one)
            if progress:
                progress(number + 1, len(checkpoint.headers))
    origin = loaded.shape.name, method, text, weights_sha256
    return Recording(*origin, records, inputs, "float" if kv is None else kv.spelled)


def integer_sums(q: Tensor, trits: Tensor, group: int) -> Tensor:
    """``p[plane, m, n, g]``: int8 ``(m, k)``, int8 ``(planes, n, k)`` -> int32, the last group may be short.

    Products of float32, which is exact below 2^24: there torch is twice as quick as with integers.
    """
    exact = group * _INT8_LARGEST < 1 << 24
    number = torch.float32 if exact else torch.int32
    whole = q.shape[1] // group * group
    pieces = [(q[:, :whole], trits[..., :whole], group), (q[:, whole:], trits[..., whole:], q.shape[1] - whole)]
    found = []
    for part, codes, size in (piece for piece in pieces if piece[0].shape[1]):
        inputs = part.unflatten(1, (-1, size)).transpose(0, 1).to(number)  # (g, m, size)
        groups = codes.unflatten(-1, (-1, size)).permute(0, 2, 3, 1)  # (planes, g, size, n)
        found.append(torch.stack([(inputs @ plane.to(number)).permute(1, 2, 0).int() for plane in groups]))
    return torch.cat(found, -1) if len(found) > 1 else found[0].contiguous()


def _record(layer: int, kind: str, linear: TernaryLinear, q: np.ndarray) -> LinearRecord:
    planes, n, k = linear.trits.shape
    sums = integer_sums(torch.from_numpy(q), torch.from_numpy(linear.trits), linear.group)
    parts = linear.streamed()
    sizes = [trits.size for _, trits in parts]

    def mean(statistics: Callable[[np.ndarray, np.ndarray], OperandStatistics]) -> OperandStatistics:
        found = [statistics(q[:, inputs], trits) for inputs, trits in parts]
        return OperandStatistics(
            toggle_rate=float(np.average([one.toggle_rate for one in found], weights=sizes)),
            input_toggle_rate=float(np.average([one.input_toggle_rate for one in found], weights=sizes)),
        )

    return LinearRecord(
        layer=layer,
        kind=kind,
        input=input_name(layer, kind),
        n=n,
        k=k,
        planes=planes,
        group=linear.group,
        sums_sha256=sums_digest(sums.numpy()),
        zero_fraction=(sum(sizes) - np.count_nonzero(linear.trits)) / sum(sizes),
        prefill=mean(prefill_statistics),
        decode=mean(decode_statistics),
    )
