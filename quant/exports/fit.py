"""What of a run's linears a format with ternary tensors can hold, and what to pass where it cannot."""

from hw.errors import InputError
from quant.exports.finished import Finished
from quant.llama.blocks import linear_name
from quant.weights.solution import LinearSolution

__all__ = ["one_plane"]


def one_plane(run: Finished, layer: int, kind: str, target: str) -> LinearSolution:
    """A linear that is one ternary plane and its scales, nothing else.

    Raises:
        InputError: several planes, offsets, a permutation, weights at 8 bits or a low-rank correction.
    """
    solution = run.checkpoint.solution(layer, kind)
    beside = {
        f"{solution.planes} ternary planes": solution.planes > 1,
        "offsets": solution.offsets is not None or solution.zeros is not None,
        "permuted columns": solution.permutation is not None,
        "weights kept at 8 bits": solution.outliers is not None,
        "a low-rank correction": solution.low_rank is not None,
    }
    if found := [what for what, present in beside.items() if present]:
        raise InputError(
            f"{linear_name(layer, kind)}: format {target} holds one ternary plane with scales, not {', '.join(found)} "
            f"(method {run.manifest.method}); export as hf or gguf-f16, or quantize by a one-plane method: pt-bitnet"
        )
    return solution
