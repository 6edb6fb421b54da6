"""PT2-LLM as a whole: columns by similarity, the fit, its alignment and both feedbacks, block by block in float64."""

import pytest
import torch

from quant.methods.hessian import damp
from quant.methods.pt2_llm import Options, solve
from tests.quant.methods.problems import problem
from tests.quant.methods.test_closed_forms import naive_ternary


def half(values):
    return values.half().double()


def naive(weight, inputs, options):
    """Order of the columns, levels, scales and offsets; the inverse is taken anew of what remains."""
    matrix = damp(inputs.T @ inputs, weight.shape[1], options.damping).matrix.double()
    left, work = list(range(weight.shape[1])), weight.double().clone()
    order, levels, scales, offsets = [], [], [], []
    while left:
        width = min(options.group, len(left))
        chosen = left[:width]
        if options.reorder:
            mean = work[:, left].mean(1)
            cosine = [(mean @ work[:, c] / work[:, c].norm()).item() for c in left]
            best = sorted(range(len(left)), key=lambda i: -cosine[i])[:width]
            chosen = [left[i] for i in sorted(best)]
        rest = [c for c in left if c not in chosen]
        fitted = [naive_ternary(row) for row in work[:, chosen].tolist()]
        found = torch.tensor([one[0] for one in fitted]).double()
        scale, offset = (torch.tensor([one[i] for one in fitted]).double() for i in (1, 2))
        if options.align:
            x = inputs[:, chosen].double()
            for row in range(len(weight)):
                if len(set(found[row].tolist())) > 1:
                    features = torch.stack([x @ found[row], x.sum(1)], 1)
                    target = (x @ work[row, chosen])[:, None]
                    scale[row], offset[row] = torch.linalg.lstsq(features, target).solution[:, 0]
        scale, offset = half(scale), half(offset)
        arranged = [*chosen, *rest]
        upper = torch.linalg.cholesky(torch.linalg.inv(matrix[arranged][:, arranged]), upper=True)
        block = work[:, arranged]
        for j in range(width):
            if options.feedback == "column":
                found[:, j] = torch.round((block[:, j] - offset) / scale).clamp(-1, 1)
            error = (block[:, j] - scale * found[:, j] - offset) / upper[j, j]
            first = width if options.feedback == "block" else j + 1
            block[:, first:] -= error[:, None] * upper[j, first:]
        work[:, rest] = block[:, width:]
        order += chosen
        levels.append(found)
        scales.append(scale)
        offsets.append(offset)
        left = rest
    return order, torch.cat(levels, 1), torch.stack(scales, 1), torch.stack(offsets, 1)


@pytest.mark.parametrize(
    "changes",
    [{}, {"reorder": False}, {"align": False}, {"feedback": "column"}, {"feedback": "column", "reorder": False}],
    ids=str,
)
def test_blocks_equal_a_loop_that_inverts_anew(changes):
    weight, inputs, hessian = problem(6, 26, seed=17)
    options = Options(group=8, **changes)
    order, levels, scales, offsets = naive(weight, inputs, options)
    found = solve(weight, hessian, options)
    assert found.groups == 4
    if options.reorder:
        assert found.permutation.tolist() == order
    else:
        assert found.permutation is None
    assert (found.trits[0] == levels).float().mean() > 0.98
    assert torch.isclose(found.scales[0].double(), scales, rtol=5e-3, atol=1e-5).float().mean() > 0.9
    assert torch.isclose(found.offsets.double(), offsets, rtol=5e-3, atol=1e-4).float().mean() > 0.9
