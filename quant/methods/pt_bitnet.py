"""PT-BitNet, closed form: output-aware threshold search, error compensation, greedy flips, scales fitted again.

Ref: Guo et al., PT-BitNet, Neural Networks 191:107855, 2025. Its method section is not openly available; this is a
reconstruction from its abstract and two summaries. Stage 1 ("searches for the optimal transformation factor and
thresholding value"): for each group of columns a threshold ``c * 0.75 * mean|w|`` is searched, its scale projected in
the least-squares sense, both judged on the output error. Stage 2 ("optimizes the weight elements block-wise", "greedy
algorithm ... minimizing output error"): columns are rounded one by one and their errors compensated by later columns;
then single codes are flipped while that lowers the output error under a shrunk Hessian, and scales are fitted to it.

``quant.methods.pt_bitnet_full`` starts here and goes on to train whole transformer blocks and the model.
"""

from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from quant.methods.hessian import compensate, output_error, prepare, spans
from quant.methods.method import MethodOptions
from quant.methods.twn import TWN_THRESHOLD
from quant.weights.solution import LinearSolution, as_stored

__all__ = ["ClosedForm", "Options", "fit_scales", "flip_codes", "search_threshold", "snap_scales", "solve"]

_FACTORS = torch.linspace(0.5, 1.5, 21).tolist()
_ATTENTION_KINDS = ("q_proj", "k_proj", "v_proj", "o_proj")
_ROUNDS = 2  # of flips and fits
_SWEEPS = 3  # of coordinate descent over the groups in each fit
_LARGEST_EXPONENT = 7  # shifts of group scales: three stored bits


class ClosedForm(MethodOptions):
    """Options of the closed form, with which full strength starts too.

    ``group``: columns per scale, None = the row; ``attention_group``: those of q, k, v and o, None = as ``group``;
    ``damping`` in means of the Hessian's diagonal. ``scales`` "pow2": a row scale times a power of two per group, so
    that the hardware shifts instead of multiplying. ``flips``: most flips per row and round; ``shrink``: share of the
    Hessian's off-diagonal that flips do not trust.
    """

    rows_apart: ClassVar[bool] = True

    group: Annotated[int, Field(ge=1)] | None = 128
    attention_group: Annotated[int, Field(ge=1)] | None = None
    scales: Literal["free", "pow2"] = "free"
    damping: Annotated[float, Field(gt=0)] = 0.01
    flips: Annotated[int, Field(ge=0)] = 64
    shrink: Annotated[float, Field(ge=0, le=1)] = 0.1

    def for_kind(self, kind: str) -> Self:
        """Those of one linear, its group among them."""
        own = self.attention_group if kind in _ATTENTION_KINDS else None
        return self if own is None else self.model_copy(update={"group": own})


class Options(ClosedForm):
    """``sequential``: inputs of a block's later linears are taken after its earlier ones are quantized.

    ``refit``: how far scales and norm gains are fitted towards the outputs of the full-precision model instead of each
    linear's own (``quant.procedures.refit``); above 0, inputs are always taken sequentially.
    ``follow``: how far the weights that are rounded are moved first towards those whose outputs on the quantized
    prefix are nearest to the full-precision model's, by ridge least squares (the asymmetric calibration of Li et al.,
    GPTAQ, arXiv 2504.02692, section 3, in the weights). ``relative``: errors of o and down count by a token's size in
    the residual stream to minus this power, as a few tokens are a thousand times the others. Both need ``refit``.
    ``bias``: a constant per output, added where the scale is applied, that keeps the output's mean; all errors are then
    those of inputs without their means. Needs ``refit``.
    """

    sequential: bool = True
    refit: Annotated[float, Field(ge=0, le=1)] = 0.5
    follow: Annotated[float, Field(ge=0, le=1)] = 0.75
    relative: Annotated[float, Field(ge=0)] = 1.0
    bias: bool = False

    @model_validator(mode="after")
    def _refit_is_there(self) -> Self:
        if self.bias and not self.refit:
            raise ValueError("option 'bias' needs refit above 0, not 0: constants are fitted with the scales")
        for name in ("follow", "relative"):
            if name in self.model_fields_set and getattr(self, name) and not self.refit:
                raise ValueError(
                    f"option {name!r} needs refit above 0, not 0: full precision runs beside it there alone"
                )
        return self

    @property
    def inputs_in_turn(self) -> bool:
        """See ``MethodOptions``."""
        return self.sequential

    @property
    def refit_share(self) -> float:
        """See ``MethodOptions``."""
        return self.refit

    @property
    def followed_share(self) -> float:
        """See ``MethodOptions``."""
        return self.follow

    @property
    def size_power(self) -> float:
        """See ``MethodOptions``."""
        return self.relative

    @property
    def corrects_bias(self) -> bool:
        """See ``MethodOptions``."""
        return self.bias


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: ClosedForm) -> LinearSolution:
    """Quantize one linear; see ``quant.methods.method.Solver``.

    Raises:
        InputError: weights or a Hessian that ``quant.methods.hessian.prepare`` refuses.
    """
    work, damped = prepare(weight, hessian, options.damping)
    target = work.clone()
    trits, scales = _round_columns(work, damped.upper, options.group)
    if options.flips:
        trusted = torch.lerp(damped.matrix, torch.diag(damped.matrix.diagonal()), options.shrink)
        for _ in range(_ROUNDS):
            trits = flip_codes(target, trits, _spread(scales, trits, options.group), trusted, options.flips)
            scales = as_stored(fit_scales(target, trits, scales, trusted, options.group))
    kind = "row" if options.group is None else "group"
    if options.scales == "pow2" and kind == "group":
        kind, scales = "pow2", snap_scales(target, trits, scales, damped.matrix, options.group)
    return LinearSolution(trits.to(torch.int8)[None], scales.half()[None], options.group, kind)


def search_threshold(weight: torch.Tensor, metric: torch.Tensor) -> torch.Tensor:
    """Stage 1 for one group: the scale (n,), rounded to float16, of the threshold with the least ``e M e^T``.

    ``weight``: (n, columns); ``metric``: (columns, columns), the output error that the group's error causes.
    """
    magnitude = weight.abs()
    base = TWN_THRESHOLD * magnitude.mean(1, keepdim=True)
    best_error = torch.full_like(base[:, 0], torch.inf)
    best_scale = torch.zeros_like(best_error)
    for factor in _FACTORS:
        codes = torch.sign(weight) * (magnitude > factor * base)
        scale = as_stored((codes * weight).sum(1) / codes.abs().sum(1).clamp_min(1))
        error = output_error(weight - scale[:, None] * codes, metric)
        best_scale = torch.where(error < best_error, scale, best_scale)
        best_error = torch.minimum(error, best_error)
    return best_scale


def flip_codes(
    weight: torch.Tensor, trits: torch.Tensor, scale: torch.Tensor, hessian: torch.Tensor, flips: int
) -> torch.Tensor:
    """Change one code per row and step, the one that lowers ``e H e^T`` most, until no change does or ``flips`` steps.

    All (n, k): ``weight`` the target, ``trits`` float in {-1, 0, 1}, ``scale`` of each code. Moving code j by d changes
    the row's error by ``-2 a d (eH)_j + (a d)^2 H_jj``, with e the row's residual and a its scale. A nonzero code moves
    to zero, a zero code to the sign that its gradient asks for.
    """
    opposite = -trits
    gradient = (weight - scale * trits) @ hessian
    diagonal = hessian.diagonal()
    for _ in range(flips):
        step = torch.where(opposite == 0, torch.sign(gradient), opposite)
        moved = scale * step
        change = moved * torch.sub(moved * diagonal, gradient, alpha=2)
        best, column = change.min(1, keepdim=True)
        improves = best < 0
        if not improves.any():
            break
        opposite.scatter_add_(1, column, torch.where(improves, -step.gather(1, column), 0.0))
        gradient -= torch.where(improves, moved.gather(1, column), 0.0) * hessian[column[:, 0]]
    return -opposite


def fit_scales(
    weight: torch.Tensor, trits: torch.Tensor, scales: torch.Tensor, hessian: torch.Tensor, group: int | None
) -> torch.Tensor:
    """Least-squares scales (n, groups) of the output error with the codes kept: coordinate descent over the groups."""
    scales = scales.clone()
    gradient = (weight - _spread(scales, trits, group) * trits) @ hessian
    pieces = list(spans(0, weight.shape[1], group or weight.shape[1]))
    for index, (start, stop) in list(enumerate(pieces)) * _SWEEPS:
        codes = trits[:, start:stop]
        pushed = codes @ hessian[start:stop]
        curvature = (pushed[:, start:stop] * codes).sum(1)
        step = (gradient[:, start:stop] * codes).sum(1) / curvature.clamp_min(torch.finfo(torch.float32).tiny)
        step = torch.where(scales[:, index] + step > 0, step, 0.0)
        scales[:, index] += step
        gradient -= step[:, None] * pushed
    return scales


def snap_scales(
    weight: torch.Tensor, trits: torch.Tensor, scales: torch.Tensor, hessian: torch.Tensor, group: int
) -> torch.Tensor:
    """Scales (n, groups): a row's float16 scale, fitted to the output error, times powers of two."""
    exponents = torch.log2(scales.amax(1, keepdim=True) / scales.clamp_min(torch.finfo(torch.float16).tiny))
    powers = torch.exp2(-exponents.round().clamp(0, _LARGEST_EXPONENT))
    unit = _spread(powers, trits, group) * trits
    pushed = unit @ hessian
    fitted = (pushed * weight).sum(1) / (pushed * unit).sum(1).clamp_min(torch.finfo(torch.float32).tiny)
    return as_stored(fitted.clamp_min(0))[:, None] * powers


def _round_columns(work: torch.Tensor, upper: torch.Tensor, group: int | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Stage 1 and compensation over all groups: float trits (n, k), scales (n, groups); ``work`` is used up."""
    k = work.shape[1]
    trits = torch.empty_like(work)
    scales = []
    for start, stop in spans(0, k, group or k):
        # What an error inside the group costs once the columns after it have compensated: inverse of U^T U.
        factor = upper[start:stop, start:stop]
        metric = torch.cholesky_inverse(factor, upper=True)
        scale = search_threshold(work[:, start:stop], metric)
        scales.append(scale)

        def nearest(j: int, column: torch.Tensor, scale: torch.Tensor = scale) -> torch.Tensor:
            levels = torch.sign(column) * (column.abs() > scale / 2)
            trits[:, j] = levels
            return levels * scale

        compensate(work, upper, start, stop, nearest)
    return trits, torch.stack(scales, 1)


def _spread(scales: torch.Tensor, trits: torch.Tensor, group: int | None) -> torch.Tensor:
    """Scale of every code: (n, groups) -> (n, k)."""
    k = trits.shape[1]
    return scales[:, torch.arange(k, device=trits.device) // (group or k)]
