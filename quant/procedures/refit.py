"""Scales and norm gains fitted towards the full-precision model, which runs beside the quantized one, block by block.

A solver keeps its own linear's outputs on the inputs x that the quantized prefix gives, so errors made before a block
stay. Here they are undone, most of the way: before the weights are rounded, and once more by scales and gains. With f
the input in full precision and r what the residual stream is short of where the output is added:

    target         y = (1 - share) W x + share (W f + r)
    target moment  T = E[y x^T] = (1 - share) W E[x x^T] + share (W E[f x^T] + E[r x^T])
    weights        V = argmin E|y - V x|^2 + ridge |V - W|^2, which the solver rounds  (``followed_weight``)
    scales         a = argmin E|y - w(a) x|^2 + ridge, w(a) = a * codes        (``fit_scales_towards``)
    gains          s = argmin E|y - w (s * x)|^2 + ridge, of the norm before   (``fit_gains``)

With a constant b for each output, which takes up whatever the means leave, the same fits are made on central moments,
x, f and r less their means, and so is the solver's: what a constant corrects costs no code and no scale. b keeps the
mean of the linear's own outputs, ``b = W E[x] - w E[s * x]``; constants that followed full precision did harm.

Means over tokens of the inputs of o and down are weighted by the token's size in the full-precision residual stream to
minus a power, so that the few tokens of huge activations do not decide alone.

The last norm's gains are fitted to the full-precision model's outputs outright.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from quant.llama.blocks import (
    DecoderLinear,
    add_bias,
    block_norms,
    embed,
    norm_weights,
    product_precision,
    quantize_dequantize,
)
from quant.llama.stepped_block import SteppedBlock
from quant.methods.hessian import spans
from quant.methods.method import MethodOptions
from quant.procedures.calibrate import CalibrationBlock, forward_block, in_passes
from quant.procedures.linears import solve_linears
from quant.procedures.shared.shards import WHOLE, Shards
from quant.procedures.stopwatch import stage
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["FloatStream", "Means", "Moments", "fit_gains", "fit_scales_towards", "followed_weight", "target_moment"]

_RIDGE = 0.1  # pull towards what stands, in means of the diagonal
_SMALLEST = 1e-3  # root mean square of a token that still counts for what it is

Solutions = dict[tuple[int, str], LinearSolution]
Gains = dict[str, Tensor]  # by name, as in ``quant.llama.blocks.norm_weights``
Biases = dict[tuple[int, str], Tensor]  # constants (n,) added to a linear's outputs


class Moments(NamedTuple):
    """Means over tokens of products of a linear's inputs x, in the quantized model.

    ``hessian``: ``x x^T``, (k, k); ``cross``: ``x f^T`` with f the input of full precision, (k, k); ``residual``:
    ``x r^T`` with r what the residual stream lacks where the linear's output is added, (k, n), or None.
    """

    hessian: Tensor
    cross: Tensor
    residual: Tensor | None = None

    def central(self, means: "Means") -> "Moments":
        """The same of x, f and r less their means."""
        residual = None
        if self.residual is not None and means.residual is not None:
            residual = self.residual - torch.outer(means.inputs, means.residual)
        hessian = self.hessian - torch.outer(means.inputs, means.inputs)
        return Moments(hessian, self.cross - torch.outer(means.inputs, means.full), residual)


class Means(NamedTuple):
    """Means over tokens of x and f, ``(k,)``, and of r, ``(n,)`` or None."""

    inputs: Tensor
    full: Tensor
    residual: Tensor | None = None


class Seen(NamedTuple):
    """What one pass over the calibration text leaves of the linears with one input; ``count``, 0-dim: of tokens."""

    moments: Moments
    means: Means
    count: Tensor


def target_moment(weight: Tensor, moments: Moments, share: float) -> Tensor:
    """``E[y x^T]`` (n, k) of the outputs y aimed at: ``share`` of the way from ``W x`` to ``W f + r``."""
    full = weight @ moments.cross.T
    if moments.residual is not None:
        full = full + moments.residual.T
    return torch.lerp(weight @ moments.hessian, full, share)


def followed_weight(weight: Tensor, moments: Moments, share: float) -> Tensor:
    """The weights (n, k) whose outputs are nearest to those aimed at, pulled towards ``weight`` by the ridge."""
    hessian = moments.hessian
    ridge = _RIDGE * hessian.diagonal().mean() + torch.finfo(torch.float32).tiny
    short = target_moment(weight, moments, share) - weight @ hessian
    damped = hessian + ridge * torch.eye(len(hessian), device=hessian.device)
    return weight + torch.linalg.solve(damped, short, left=False)


def fit_scales_towards(solution: LinearSolution, hessian: Tensor, wanted: Tensor) -> LinearSolution:
    """The solution with the scales that minimize ``E|y - w x|^2``: one ternary plane; powers of two stay.

    ``hessian``: (k, k); ``wanted``: ``E[y x^T]``, (n, k).
    """
    codes, scales, group = solution.trits[0].float(), solution.scales[0].float(), solution.group
    powers = None
    if solution.scale_kind == "pow2":
        powers = torch.exp2(-solution.exponents().float())
        codes = codes * powers.repeat_interleave(group, 1)[:, : solution.k]
        scales, group = scales.amax(1, keepdim=True), None
    pieces = list(spans(0, solution.k, group or solution.k))
    gram = torch.stack(
        [
            torch.stack([(pushed[:, start:stop] * codes[:, start:stop]).sum(1) for start, stop in pieces], 1)
            for pushed in (codes[:, start:stop] @ hessian[start:stop] for start, stop in pieces)
        ],
        1,
    )
    target = torch.stack([(codes[:, start:stop] * wanted[:, start:stop]).sum(1) for start, stop in pieces], 1)
    ridge = _RIDGE * gram.diagonal(dim1=1, dim2=2).mean(1, keepdim=True) + torch.finfo(torch.float32).tiny
    fitted = torch.linalg.solve(gram + torch.diag_embed(ridge.expand_as(scales)), target + ridge * scales)
    fitted = as_stored(fitted.clamp_min(0))
    return replace(solution, scales=(fitted if powers is None else fitted * powers).half()[None])


def fit_gains(dense: Tensor, hessian: Tensor, wanted: Tensor) -> Tensor:
    """Factors s (k,) of the inputs that minimize ``E|y - W (s x)|^2``; ``dense`` W and ``wanted`` ``E[y x^T]``: (n, k).

    It is quadratic in s: the matrix is ``(W^T W) * H``, the linear part the column sums of ``W * wanted``.
    """
    matrix = (dense.T @ dense) * hessian
    ridge = _RIDGE * matrix.diagonal().mean()
    identity = torch.eye(len(matrix), device=matrix.device)
    return torch.linalg.solve(matrix + ridge * identity, (dense * wanted).sum(0) + ridge)


class FloatStream:
    """The full-precision model beside a quantized one that ``quant.procedures.calibrate.calibration_blocks`` walks."""

    @torch.no_grad()
    def __init__(self, model: PreTrainedModel, windows: Tensor, share: float, shards: Shards = WHOLE) -> None:
        """``windows``: calibration tokens, int64 ``(count, length)``; ``share``: see ``target_moment``.

        ``shards``: of the windows, of which a process has its own alone.
        """
        self._model, self._share, self._shards = model, share, shards
        self._hidden = embed(model, windows.to(next(model.parameters()).device)).clone()

    @torch.no_grad()
    def skip_block(self, item: CalibrationBlock) -> None:
        """Go past a block that is about to be replaced by what an earlier run found."""
        self._hidden = forward_block(self._model, item.block, self._hidden, int8=False)

    @torch.no_grad()
    def solve_block(
        self, item: CalibrationBlock, solve: Callable[..., LinearSolution], options: MethodOptions
    ) -> tuple[Solutions, Gains, Biases]:
        """Solutions, norm gains and constants of one block, put in their place; go past it in both models.

        Later linears of the block see its earlier ones quantized.

        Raises:
            InputError: what the solver refuses, with the linear's name.
        """
        full = SteppedBlock(self._model, copy.deepcopy(item.block), int8=False)
        ours = SteppedBlock(self._model, item.block, int8=True)
        found, gains = {}, {name: gain.detach() for name, gain in block_norms(item.block, item.layer).items()}
        attention_gain, mlp_gain = tuple(gains.values()) or (None, None)
        biases: Biases = {}
        outputs = item.hidden.clone()
        parts = [list(map(in_passes, self._shards.split(values))) for values in (outputs, self._hidden)]
        states, full_states = (list(chain(*passes)) for passes in parts)

        def moments(step: Callable[[SteppedBlock, Tensor], Tensor], adds: bool) -> Seen:
            with stage("Hessians", item.layer), product_precision(self._model):
                sums = [
                    _sum(
                        _products(
                            quantize_dequantize(step(ours, mine)),
                            step(full, other),
                            lacking(mine, other, adds),
                            _sizes(other) ** -options.size_power if adds and options.size_power else None,
                        )
                        for mine, other in zip(*passes, strict=True)
                    )
                    for passes in zip(*parts, strict=True)
                ]
                return _mean(sums, self._shards)

        def lacking(mine: Tensor, other: Tensor, adds: bool) -> Tensor | None:
            return (other - mine) / ours.adds if adds and ours.adds is not None else None

        def replace_linears(kinds: Sequence[str], seen: Seen, gain: Tensor | None = None) -> None:
            linears = [linear for linear in item.linears if linear.kind in kinds]
            with stage("solve", item.layer):
                solutions, constants = self._solve(linears, seen, solve, options, gain)
            found.update(solutions)
            biases.update(constants)

        def add(step: Callable[[SteppedBlock, Tensor], Tensor]) -> None:
            with stage("forward", item.layer):
                for steps, parts in ((ours, states), (full, full_states)):
                    for part in parts:
                        part.copy_(step(steps, part))

        replace_linears(("q_proj", "k_proj", "v_proj"), moments(SteppedBlock.attention_in, False), attention_gain)
        replace_linears(("o_proj",), moments(SteppedBlock.attention_out, True))
        add(lambda steps, hidden: steps.after_attention(hidden, steps.attention_out(hidden)))
        replace_linears(("gate_proj", "up_proj"), moments(SteppedBlock.mlp_in, False), mlp_gain)
        replace_linears(("down_proj",), moments(SteppedBlock.mlp_out, True))
        add(lambda steps, hidden: steps.after_mlp(hidden, steps.mlp_out(hidden)))
        item.outputs = outputs
        return found, gains, biases

    @torch.no_grad()
    def last_gains(self, outputs: Tensor) -> Tensor:
        """Gains (hidden,) of the last norm, fitted channel by channel; ``outputs``: of the last quantized block."""
        eps, sums = self._model.config.rms_norm_eps, []
        for part in zip(*map(self._shards.split, (outputs, self._hidden)), strict=True):
            products, squares = both = torch.zeros((2, outputs.shape[-1]), device=outputs.device, dtype=torch.float64)
            for mine, other in zip(*map(in_passes, part), strict=True):
                mine, other = (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) for x in (mine, other))
                products += (mine * other).sum((0, 1))
                squares += mine.square().sum((0, 1))
            sums.append(both)
        products, squares = self._shards.total(sums)
        return norm_weights(self._model)["norm"] * (products / squares).clamp(0, 2).float()

    def _solve(
        self,
        linears: Sequence[DecoderLinear],
        seen: Seen,
        solve: Callable[..., LinearSolution],
        options: MethodOptions,
        gain: Tensor | None,
    ) -> tuple[Solutions, Biases]:
        """Linears with one input; ``gain`` of the norm that makes it is changed in place."""
        moments = seen.moments.central(seen.means) if options.corrects_bias else seen.moments
        originals = {linear.kind: linear.module.weight.clone() for linear in linears}
        if options.followed_share:
            for linear in linears:
                aimed = followed_weight(originals[linear.kind], moments, options.followed_share)
                linear.module.weight.copy_(aimed)
        found, wanted, factors = {}, [], 1.0
        hessians = dict.fromkeys(originals, moments.hessian)
        for linear, solution in solve_linears(linears, hessians, solve, options, shards=self._shards):
            wanted.append(target_moment(originals[linear.kind], moments, self._share))
            solution = fit_scales_towards(solution, moments.hessian, wanted[-1])
            linear.module.weight.copy_(solution.dense())
            found[linear.layer, linear.kind] = solution
        if gain is not None:
            dense = torch.cat([linear.module.weight for linear in linears])
            factors = fit_gains(dense, moments.hessian, torch.cat(wanted))
            gain.mul_(factors)
        if not options.corrects_bias:
            return found, {}
        mean, biases = seen.means.inputs, {}
        for linear in linears:
            constants = as_stored(originals[linear.kind] @ mean - linear.module.weight @ (mean * factors))
            add_bias(linear.module, constants)
            biases[linear.layer, linear.kind] = constants
        return found, biases


def _products(x: Tensor, full: Tensor, missing: Tensor | None, weights: Tensor | None = None) -> Seen:
    """Sums over the tokens of one batch, ``weights`` (tokens, 1) times each where given."""
    x, full = x.flatten(0, -2), full.flatten(0, -2)
    missing = None if missing is None else missing.flatten(0, -2)
    counted, count = (x, x.new_tensor(float(len(x)))) if weights is None else (x * weights, weights.sum())
    residual, lacking = None, None
    if missing is not None:
        residual = counted.T @ missing
        lacking = (missing if weights is None else missing * weights).sum(0)
    sums = Means(counted.sum(0), (full if weights is None else full * weights).sum(0), lacking)
    return Seen(Moments(counted.T @ x, counted.T @ full, residual), sums, count)


def _sizes(stream: Tensor) -> Tensor:
    """Root mean square of each token, (tokens, 1)."""
    return stream.flatten(0, -2).square().mean(-1, keepdim=True).sqrt().clamp_min(_SMALLEST)


def _sum(batches: Iterator[Seen]) -> Seen:
    total = next(batches)
    for sums in batches:
        total = Seen(*(_each(torch.add, one, other) for one, other in zip(total, sums, strict=True)))
    return total


def _mean(sums: Sequence[Seen], shards: Shards) -> Seen:
    """Of all shards; ``sums``: over those of this process."""
    total = sums[0]
    if shards.count > 1:
        total = Seen(*(_each(lambda *values: shards.total(values), *parts) for parts in zip(*sums, strict=True)))
    return Seen(*(_each(lambda one: one / total.count, part) for part in total))


def _each(function: Callable[..., Tensor], *parts: Moments | Means | Tensor) -> Moments | Means | Tensor:
    """Field by field; what is None stays so."""
    if isinstance(parts[0], Tensor):
        return function(*parts)
    return type(parts[0])(*(None if values[0] is None else function(*values) for values in zip(*parts, strict=True)))
