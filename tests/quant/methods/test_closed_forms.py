"""Closed forms and searches of the methods against loops over rows, in float64, that try what the text says."""

import math

import pytest
import torch

from quant.methods.gptq import twn_scale
from quant.methods.hessian import BLOCK, compensate, damp, output_error, push_error, spans
from quant.methods.pb_llm import EightBit, salient_weights
from quant.methods.pb_llm import Options as PbOptions
from quant.methods.pb_llm import solve as pb_llm
from quant.methods.pt2_llm import align_grid, fit_ternary, most_similar
from quant.methods.pt_bitnet import Options, fit_scales, flip_codes, search_threshold, snap_scales, solve
from quant.methods.rtn import Options as RtnOptions
from quant.methods.rtn import solve as rtn
from quant.methods.two_bit import clip_search, min_max, quantize_codes
from tests.quant.methods.problems import problem


def half(value: float) -> float:
    return torch.tensor(value).half().item()


# Hessians and error feedback


def test_damping_by_hand():
    hessian = torch.tensor([[4.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    damped = damp(hessian, 3, 0.1)
    # A dead input counts 1; the mean of the diagonal is 7 / 3.
    extra = 0.1 * 7 / 3
    expected = torch.tensor([[4 + extra, 1, 0], [1, 2 + extra, 0], [0, 0, 1 + extra]])
    assert torch.allclose(damped.matrix, expected)
    assert damped.dead.tolist() == [False, False, True]
    assert torch.allclose(damped.upper.T @ damped.upper, torch.linalg.inv(expected), atol=1e-6)
    assert not damped.upper.tril(-1).any()
    assert (hessian.diagonal() == torch.tensor([4.0, 2.0, 0.0])).all()


def test_output_error_by_loops():
    weight, inputs, hessian = problem(4, 6)
    for row, found in zip(weight.double(), output_error(weight, hessian), strict=True):
        assert found.item() == pytest.approx((inputs.double() @ row).square().sum().item(), rel=1e-4)


def test_spans():
    assert list(spans(3, 11, 4)) == [(3, 7), (7, 11)]
    assert list(spans(0, 9, 4)) == [(0, 4), (4, 8), (8, 9)]


def test_errors_reach_all_later_columns_also_beyond_a_batch_of_128():
    """Columns one by one in float64, without batches, from one that is not the first."""
    assert BLOCK == 128
    k = 150
    weight, _, hessian = problem(3, k, tokens=600)
    upper = damp(hessian, k, 0.01).upper
    expected = weight.double().clone()
    for j in range(5, 140):
        error = (expected[:, j] - torch.round(expected[:, j] * 20) / 20) / upper[j, j].double()
        expected[:, j:] -= error[:, None] * upper[j, j:].double()
    found = weight.clone()
    compensate(found, upper, 5, 140, lambda j, column: torch.round(column * 20) / 20)
    assert (found - expected).abs().max() < 0.051  # a rounding may fall on the other side
    assert torch.isclose(found.double(), expected, atol=1e-4).float().mean() > 0.98
    assert torch.equal(found[:, :5], weight[:, :5])


def test_a_block_that_is_replaced_at_once_pushes_only_to_later_blocks():
    weight, _, hessian = problem(2, 6)
    upper = damp(hessian, 6, 0.01).upper
    found, values = weight.clone(), torch.tensor([[0.1, -0.1], [0.2, 0.0]])
    push_error(found, upper, 1, 3, values)
    expected = weight.clone()
    expected[:, 1:3] = values
    for j in (1, 2):
        error = (weight[:, j] - values[:, j - 1]) / upper[j, j]
        for later in range(3, 6):
            expected[:, later] -= error * upper[j, later]
    assert torch.allclose(found, expected, atol=1e-6)


# Thresholds and scales


def test_the_threshold_of_ternary_weight_networks_is_three_quarters_of_the_mean():
    # mean 1: 0.76 is kept, 0.72 and exactly 0.75 are not
    assert twn_scale(torch.tensor([[0.72, -0.76, 1.52]])).item() == pytest.approx((0.76 + 1.52) / 2)
    assert twn_scale(torch.tensor([[0.75, 0.75, -1.5]])).item() == pytest.approx(1.5)
    assert twn_scale(torch.zeros(1, 3)).item() == 0


def test_absmean_per_tensor_row_and_group():
    weight = torch.tensor([[1.0, -2.0, 0.2, 0.0, 3.0], [0.5, 0.5, -0.5, 0.1, 0.4]])
    by_group = rtn(weight, None, RtnOptions(group=2))
    means = [[1.5, 0.1, 3.0], [0.5, 0.3, 0.4]]
    assert by_group.scales[0].tolist() == [[half(x) for x in row] for row in means]
    assert by_group.trits[0].tolist() == [[1, -1, 1, 0, 1], [1, 1, -1, 0, 1]]
    by_row = rtn(weight, None, RtnOptions(scale="row"))
    assert by_row.scales[0].tolist() == [[half(1.24)], [half(0.4)]]
    assert by_row.trits[0].tolist() == [[1, -1, 0, 0, 1], [1, 1, -1, 0, 1]]
    assert (by_row.group, by_row.scale_kind) == (None, "row")
    by_tensor = rtn(weight, None, RtnOptions(scale="tensor"))
    assert by_tensor.scales[0].tolist() == [[half(0.82)]] * 2
    assert by_tensor.trits[0].tolist() == [[1, -1, 0, 0, 1], [1, 1, -1, 0, 0]]


def naive_threshold(row, metric):
    """Of 21 factors from 0.5 to 1.5 of the TWN threshold, the first whose scale errs least."""
    best = (math.inf, 0.0)
    mean = sum(abs(w) for w in row) / len(row)
    for step in range(21):
        threshold = (0.5 + step / 20) * 0.75 * mean
        codes = [math.copysign(1, w) if abs(w) > threshold else 0.0 for w in row]
        kept = [abs(w) for w, c in zip(row, codes, strict=True) if c]
        scale = half(sum(kept) / max(1, len(kept)))
        difference = torch.tensor([w - scale * c for w, c in zip(row, codes, strict=True)], dtype=torch.float64)
        error = (difference @ metric @ difference).item()
        if error < best[0] * (1 - 1e-9):
            best = (error, scale)
    return best[1]


def test_the_searched_threshold_equals_a_loop_over_its_factors():
    weight, _, hessian = problem(16, 24, seed=5)
    expected = [naive_threshold(row, hessian.double()) for row in weight.tolist()]
    assert search_threshold(weight, hessian).tolist() == expected


def naive_flips(row, trits, scales, hessian, flips):
    """One change at a time, the best of all, nonzero to zero or zero to either sign, while it lowers the error."""

    def error(codes):
        difference = row - scales * codes
        return (difference @ hessian @ difference).item()

    codes, now = trits.clone(), error(trits)
    for _ in range(flips):
        best = (now, None)
        for j in range(len(row)):
            for value in (0.0,) if codes[j] else (-1.0, 1.0):
                moved = codes.clone()
                moved[j] = value
                best = min(best, (error(moved), moved), key=lambda pair: pair[0])
        if best[1] is None:
            break
        now, codes = best
    return codes


@pytest.mark.parametrize("flips", [1, 3, 100])
def test_flips_are_the_best_single_changes_in_turn(flips):
    weight, _, hessian = problem(8, 12, seed=6)
    scales = weight.abs().mean(1, keepdim=True).expand(8, 12) * torch.linspace(0.7, 1.6, 12)
    trits = torch.sign(weight) * (weight.abs() > 0.05)
    found = flip_codes(weight, trits, scales, hessian, flips)
    for row in range(8):
        expected = naive_flips(weight[row].double(), trits[row].double(), scales[row].double(), hessian.double(), flips)
        assert found[row].tolist() == expected.tolist()


def naive_scales(row, trits, scales, hessian, group):
    """Three sweeps of coordinate descent over the groups; a scale that would not be positive stays."""
    scales = scales.clone()
    for _ in range(3):
        for index in range(len(scales)):
            span = slice(index * group, (index + 1) * group)
            spread = scales.repeat_interleave(group)[: len(row)]
            difference = row - spread * trits
            unit = torch.zeros_like(row)
            unit[span] = trits[span]
            curvature = unit @ hessian @ unit
            step = (difference @ hessian @ unit) / curvature if curvature > 0 else 0.0
            if scales[index] + step > 0:
                scales[index] += step
    return scales


def test_fitted_scales_are_three_sweeps_over_the_groups():
    weight, _, hessian = problem(6, 20, seed=7)
    trits = torch.sign(weight) * (weight.abs() > weight.abs().mean())
    trits[0, 8:16] = 0  # a group without codes keeps its scale
    trits[1, :8] = -torch.sign(weight[1, :8])  # a group that would turn negative keeps its scale
    start = torch.full((6, 3), 0.04)
    found = fit_scales(weight, trits, start, hessian, 8)
    for row in range(6):
        exact = naive_scales(weight[row].double(), trits[row].double(), start[row].double(), hessian.double(), 8)
        assert found[row].tolist() == pytest.approx(exact.tolist(), rel=2e-3, abs=1e-5)
    assert found[0, 1] == start[0, 1]


def test_group_scales_become_the_nearest_powers_of_two_of_the_largest():
    # log2(1 / s): 0.51, 1.47, 2.32, 8 and 6.6, by rounding 1, 1, 2, 7 (the most) and 7
    scales = torch.tensor([[1.0, 0.70, 0.36, 0.2, 2.0**-8, 2.0**-6.6]])
    powers = [1.0, 0.5, 0.5, 0.25, 2.0**-7, 2.0**-7]
    trits = torch.tensor([[1.0, -1.0] * 6])
    weight, _, hessian = problem(1, 12, seed=8)
    weight = trits * torch.tensor(powers).repeat_interleave(2) * 0.3 + 0.1 * weight
    found = snap_scales(weight, trits, scales, hessian, 2)
    assert (found[0] / found[0, 0]).tolist() == powers
    unit = (trits[0] * torch.tensor(powers).repeat_interleave(2)).double()
    fitted = (unit @ hessian.double() @ weight[0].double()) / (unit @ hessian.double() @ unit)
    assert found[0, 0].item() == half(fitted.item())


def test_the_closed_form_is_its_steps_in_turn():
    """Thresholds on the compensated columns, then twice flips and fits under the Hessian that is shrunk by a tenth."""
    weight, _, hessian = problem(5, 20, seed=9)
    damped = damp(hessian, 20, 0.01)
    inverse, work = torch.linalg.inv(damped.matrix.double()), weight.double().clone()
    trits, scales = torch.zeros(5, 20, dtype=torch.float64), torch.zeros(5, 3, dtype=torch.float64)
    for j in range(20):
        if j % 8 == 0:
            width = min(8, 20 - j)
            metric = torch.linalg.inv(inverse[:width, :width])
            scales[:, j // 8] = torch.tensor([naive_threshold(row[j : j + 8].tolist(), metric) for row in work])
        scale = scales[:, j // 8]
        trits[:, j] = torch.sign(work[:, j]) * (work[:, j].abs() > scale / 2)
        error = (work[:, j] - scale * trits[:, j]) / inverse[0, 0]
        work[:, j:] -= error[:, None] * inverse[0]
        inverse = (inverse - inverse[:, :1] * inverse[:1] / inverse[0, 0])[1:, 1:]
    rounded = solve(weight, hessian, Options(group=8, flips=0))
    assert rounded.trits[0].tolist() == trits.tolist()
    assert rounded.scales[0].tolist() == scales.tolist()
    trusted = damped.matrix.double() * 0.9 + 0.1 * torch.diag(damped.matrix.double().diagonal())
    for _ in range(2):
        spread = scales.repeat_interleave(8, 1)[:, :20]
        rows = zip(weight.double(), trits, spread, strict=True)
        trits = torch.stack([naive_flips(row, t, s, trusted, 64) for row, t, s in rows])
        rows = zip(weight.double(), trits, scales, strict=True)
        scales = torch.stack([naive_scales(row, t, s, trusted, 8) for row, t, s in rows]).half().double()
    found = solve(weight, hessian, Options(group=8))
    assert found.trits[0].tolist() == trits.tolist()
    assert torch.allclose(found.scales[0].double(), scales, rtol=2e-3)


# PB-LLM


def test_eight_bits_cover_the_row_and_zero():
    quantizer = EightBit(torch.tensor([[-1.0, 4.1, 0.5], [2.0, 5.1, 3.0], [-3.0, -0.3, -1.0], [0.0, 0.0, 0.0]]))
    assert quantizer.scale.tolist() == [half(5.1 / 255), half(5.1 / 255), half(3 / 255), 1.0]
    assert quantizer.zero.tolist() == [50, 0, 255, 0]
    assert quantizer.codes(torch.tensor([4.1, 9.0, -9.0, 0.0])).tolist() == [255, 255, 0, 0]
    assert quantizer.codes(torch.tensor([0.5, 3.0, -1.0, 0.0])).tolist() == [75, 150, 170, 0]
    values = quantizer.values(torch.tensor([75.0, 150.0, 170.0, 0.0]))
    assert values.tolist() == pytest.approx([0.5, 3.0, -1.0, 0.0], abs=2e-3)


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.1, 1), (0.25, 4), (0.5, 9), (0.99, 19)])
def test_the_salient_ones_are_above_one_threshold(fraction, count):
    saliency = torch.arange(20.0).view(4, 5)
    # of 20 the threshold is the one at place int(20 (1 - f)), itself not salient
    found = salient_weights(saliency, fraction)
    place = min(int(20 * (1 - fraction)), 19)
    assert int(found.sum()) == 19 - place == count
    assert (saliency[found] > place).all()


@pytest.mark.parametrize("over", ["all", "binary"])
@pytest.mark.parametrize("metric", ["magnitude", "hessian"])
def test_two_values_and_salient_weights_of_a_group_by_loops(over, metric):
    weight, _, _ = problem(6, 20, seed=10)
    diagonal = torch.diag(torch.linspace(0.5, 3, 20))  # without correlations no error moves
    found = pb_llm(weight, diagonal, PbOptions(group=8, salient_fraction=0.2, scale_over=over, metric=metric))
    upper = damp(diagonal, 20, 0.01).upper.diagonal()
    for g, (start, stop) in enumerate(((0, 8), (8, 16), (16, 20))):
        part = weight[:, start:stop]
        saliency = part.abs() if metric == "magnitude" else (part / upper[start:stop]).square()
        ordered = saliency.flatten().sort().values
        threshold = ordered[min(int(ordered.numel() * 0.8), ordered.numel() - 1)]
        salient = saliency > threshold
        assert torch.equal(found.outliers.mask[:, start:stop], salient)
        for row in range(6):
            binary = [w.item() for w, kept in zip(part[row], salient[row], strict=True) if not kept]
            places = stop - start if over == "all" else max(1, len(binary))
            mean = sum(binary) / places
            distances = [abs(w - mean) for w in binary]
            if over == "all":
                distances += [abs(mean)] * (places - len(binary))
            assert found.offsets[row, g].item() == pytest.approx(mean, abs=1e-4)
            assert found.scales[0, row, g].item() == pytest.approx(sum(distances) / places, abs=1e-4)
            for column in range(start, stop):
                sign = found.trits[0, row, column].item()
                if salient[row, column - start]:
                    assert sign == 0
                else:
                    assert sign == (1 if weight[row, column] >= found.offsets[row, g].float() else -1)


# Two bits


def test_two_bit_ends_by_hand():
    scale, zero = min_max(torch.tensor([[-1.0, 2.0, 0.5], [0.6, 1.5, 0.9], [-3.0, -1.5, -0.3], [0.0, 0.0, 0.0]]))
    assert scale.tolist() == [1.0, 0.5, 1.0, half(2 / 3)]
    assert zero.tolist() == [1, 0, 3, 2]  # of a row of zeros from -1 to 1: 1.5, to even
    codes = quantize_codes(torch.tensor([[-1.4, 2.6, 0.4]]), torch.tensor([[1.0]]), torch.tensor([[1.0]]))
    assert codes.tolist() == [[0, 3, 1]]
    assert quantize_codes(torch.tensor([[5.0]]), torch.zeros(1, 1), torch.tensor([[2.0]])).tolist() == [[2]]


def test_the_clip_search_tries_eighty_steps_of_a_hundredth():
    weight = torch.randn(8, 30, generator=torch.Generator().manual_seed(11)) ** 3
    scales, zeros = clip_search(weight)
    for row, scale, zero in zip(weight.double(), scales, zeros, strict=True):
        low, high = min(row.min().item(), 0.0), max(row.max().item(), 0.0)
        best = (math.inf, 0, 0)
        for step in range(80):
            shrink = 1 - step / 100
            exact = shrink * (high - low) / 3
            s, z = half(exact), round(-shrink * low / exact)
            error = 0.0
            for w in row.tolist():
                code = min(max(round(w / s) + z, 0), 3)
                error += abs(s * (code - z) - w) ** 2.4
            if error < best[0] * (1 - 1e-6):
                best = (error, s, z)
        assert (scale.item(), zero.item()) == best[1:]


# PT2-LLM


def test_columns_are_chosen_by_their_angle_not_by_their_length():
    mean_like = torch.tensor([1.0, 1.0, 1.0, 1.0])
    weight = torch.stack(
        [
            100 * torch.tensor([1.0, 0.0, 0.2, 0.0]),
            0.1 * mean_like,
            10 * torch.tensor([0.0, 3.0, 0.0, 0.1]),
            mean_like * torch.tensor([1.0, 1.0, 0.9, 1.0]),
            torch.zeros(4),
        ],
        1,
    )
    mean = weight.mean(1)
    cosines = [(mean @ column / column.norm()).item() if column.any() else 0.0 for column in weight.T]
    for count in (1, 2, 3, 4):
        best = sorted(sorted(range(5), key=lambda c: -cosines[c])[:count])
        assert most_similar(weight, count).tolist() == best
    products = [(mean @ column).item() for column in weight.T]
    assert sorted(range(5), key=lambda c: -products[c])[:2] != sorted(range(5), key=lambda c: -cosines[c])[:2]


def naive_ternary(row):
    """Offset, TWN start, then least squares of scale and offset and rounding in turns."""
    offset = sum(row) / len(row)
    threshold = 0.75 * sum(abs(w - offset) for w in row) / len(row)
    levels = [math.copysign(1, w - offset) if abs(w - offset) > threshold else 0.0 for w in row]
    kept = [abs(w - offset) for w, level in zip(row, levels, strict=True) if level]
    scale = sum(kept) / max(1, len(kept))
    for _ in range(50):
        if len(set(levels)) > 1:
            features = torch.tensor([[level, 1.0] for level in levels], dtype=torch.float64)
            target = torch.tensor(row, dtype=torch.float64)[:, None]
            scale, offset = torch.linalg.lstsq(features, target).solution[:, 0].tolist()
        previous = levels
        levels = [float(min(max(round((w - offset) / scale), -1), 1)) if scale > 0 else 0.0 for w in row]
        if levels == previous:
            break
    return levels, scale, offset


def test_the_ternary_fit_equals_its_turns_by_least_squares():
    weight = torch.randn(12, 15, generator=torch.Generator().manual_seed(12)) + 0.4
    levels, scale, offset = fit_ternary(weight)
    for row in range(12):
        expected = naive_ternary(weight[row].tolist())
        assert levels[row].tolist() == expected[0]
        assert (scale[row].item(), offset[row].item()) == pytest.approx(expected[1:], abs=1e-5)
    levels, scale, offset = fit_ternary(torch.full((1, 4), 0.5))
    assert (levels.tolist(), offset.tolist()) == ([[0.0] * 4], [0.5])


def test_the_aligned_grid_is_least_squares_in_the_outputs():
    weight, inputs, hessian = problem(5, 9, seed=13)
    levels = torch.sign(weight) * (weight.abs() > 0.03)
    levels[4] = 1.0  # scale and offset are the same then: the row keeps its own
    scale, offset = align_grid(weight, levels, torch.full((5,), 0.7), torch.full((5,), 0.3), hessian)
    for row in range(4):
        features = torch.stack([inputs @ levels[row], inputs.sum(1)], 1).double()
        exact = torch.linalg.lstsq(features, (inputs @ weight[row]).double()[:, None]).solution[:, 0]
        assert (scale[row].item(), offset[row].item()) == pytest.approx(exact.tolist(), rel=2e-3, abs=1e-5)
    assert (scale[4].item(), offset[4].item()) == pytest.approx((0.7, 0.3))
