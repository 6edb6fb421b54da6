"""The contract of a quantization method: a module with ``Options``, and the function that its procedure calls.

A method says how it is carried over a model by ``MethodOptions.procedure``; the module then has

==============  ============================================================  =====================
procedure       what is solved or learned together                            the module has
==============  ============================================================  =====================
``layerwise``   one linear, on the outputs of the quantized blocks before it  ``solve``
``blockwise``   the linears of a block, against the float block's outputs     ``learned_weight``
``crossblock``  the linears of a block over a quantized cache, blocks later   ``learned_weight``
``modelwise``   block by block from ``solve``, then the model as a whole      ``solve``
``tuned``       all linears, from the language model's own loss               ``learned_weight``
``stored``      nothing: the weights are ternary already (``native`` alone)   nothing more
==============  ============================================================  =====================

See ``docs/methods.md`` for how to add one. Nothing here imports torch.
"""

from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Protocol, Self

from pydantic import Field

from hw.document import Record

if TYPE_CHECKING:
    from torch import Tensor

    from quant.weights.solution import LinearSolution

__all__ = [
    "GENERATED_LENGTH",
    "BlockOptions",
    "LearnedWeight",
    "Learner",
    "Method",
    "MethodOptions",
    "ModelOptions",
    "ObjectiveOptions",
    "Procedure",
    "Solver",
    "TableRoles",
    "TunedOptions",
    "WeightOnlyOptions",
]

GENERATED_LENGTH = 512  # tokens that the model writes in one go; distillation packs them into longer windows

TableRoles = Literal["both", "embedding", "head"]

Procedure = Literal["layerwise", "blockwise", "crossblock", "modelwise", "tuned", "stored"]


class MethodOptions(Record):
    """Base of every method's options, which also say what the procedures need to know of the method.

    ``rows_apart``: each row of weights is solved by itself, so linears with one input may be solved as one.
    """

    rows_apart: ClassVar[bool] = False

    @property
    def procedure(self) -> Procedure:
        """How the method is carried over a model."""
        return "layerwise"

    @property
    def int8_calibration(self) -> bool:
        """Whether linears see int8 activations while calibrating, as on the hardware."""
        return True

    @property
    def inputs_in_turn(self) -> bool:
        """Layerwise: whether the inputs of a block's later linears are taken after its earlier ones are quantized."""
        return False

    @property
    def refit_share(self) -> float:
        """Layerwise: how far, 0..1, scales and gains are fitted to full precision (``quant.procedures.refit``)."""
        return 0.0

    @property
    def followed_share(self) -> float:
        """Where ``refit_share`` is above 0: how far, 0..1, the weights that are rounded go towards full precision."""
        return 0.0

    @property
    def size_power(self) -> float:
        """Where ``refit_share`` is above 0: errors of o and down count by a token's size to minus this power."""
        return 0.0

    @property
    def sampled_tokens(self) -> int:
        """Tokens of the calibration inputs of each linear that the module's function gets besides the Hessian."""
        return 0

    @property
    def corrects_bias(self) -> bool:
        """Layerwise, where ``refit_share`` is above 0: whether each output gets a constant that keeps its mean."""
        return False

    def for_kind(self, kind: str) -> Self:
        """The options with which linears of one kind (``q_proj``) are solved: the same for all, unless overridden."""
        return self


class WeightOnlyOptions(MethodOptions):
    """Base of the options of methods that were published for float activations.

    ``calibrated``: the activations while calibrating: "A16" float, as in the papers; "A8" int8, as on the hardware.
    """

    calibrated: Literal["A16", "A8"] = "A16"

    @property
    def int8_calibration(self) -> bool:
        """See ``MethodOptions``."""
        return self.calibrated == "A8"


class BlockOptions(WeightOnlyOptions):
    """Base of the options of methods that are learned against the output of their transformer block.

    ``epochs`` over the calibration text, in steps of ``block_tokens_per_step`` at ``block_rate``.
    """

    epochs: Annotated[int, Field(ge=0)] = 20
    block_rate: Annotated[float, Field(gt=0)] = 0.01
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 8192

    @property
    def falls(self) -> bool:
        """Whether the rate falls to zero by a cosine, else it is constant."""
        return False

    @property
    def procedure(self) -> Procedure:
        """See ``MethodOptions``."""
        return "blockwise"

    @property
    def both_streams(self) -> bool:
        """Whether the float block's outputs on the quantized prefix are a second target."""
        return False

    @property
    def cosine(self) -> bool:
        """Whether the loss also has the negative logarithm of the mean cosine to each target."""
        return False

    @property
    def input_peaks(self) -> bool:
        """Whether ``learned_weight`` gets the largest magnitude of each input in the float model, ``peaks`` (k,)."""
        return False

    @property
    def preprocesses(self) -> bool:
        """Whether ``quant.procedures.tuned.preprocess`` changes the float model between two passes."""
        return False

    @property
    def factors_at(self) -> float:
        """Rate of factors of the inputs (``quant.procedures.input_factors``) that are learned too; 0: none."""
        return 0.0


class ObjectiveOptions(BlockOptions):
    """Base of the options of methods that know both: their modules have ``solve`` and ``learned_weight``.

    ``objective``: what learning lowers, the "linear"'s own output error or that of the transformer "block"; the
    options of ``BlockOptions`` are for "block".
    """

    objective: Literal["linear", "block"] = "linear"

    @property
    def procedure(self) -> Procedure:
        """See ``MethodOptions``."""
        return "blockwise" if self.objective == "block" else "layerwise"


class ModelOptions(MethodOptions):
    """Base of the options of methods that are trained beyond ``solve``: blocks reconstructed, then the model distilled.

    ``solve`` gives one ternary plane with scales, from which training starts.

    ``epochs`` of reconstruction per block over the calibration text, or ``block_steps`` of it instead, which may end
    within an epoch; ``distill_steps`` over windows of
    ``distill_length`` tokens, ``real_share`` of them calibration text, the others out of ``generated_windows`` of 512
    tokens that the model writes; tokens per step and peak learning rates of both, in units of codes. ``distilled``:
    "all" trains latent weights, scales and norms; "scales" leaves the codes as block reconstruction made them, which
    is all that one GPU has room for at 7 B parameters.

    ``soften``, ``distill_soften``: share of the steps of a block's reconstruction, or of distillation, over which
    weights harden linearly from clamped latent ones to their codes (from soft to hard as in Gong et al.,
    Differentiable Soft Quantization, arXiv 1908.05033, with another curve).
    ``window``: consecutive blocks reconstructed together, towards the outputs of the last; the first is then done and
    the window moves on by one block (CBQ, arXiv 2312.07950, section 3.2).

    ``tables``: whether embedding and head, tied or not, are "kept" or "trained" by distillation too, and then stored as
    float16 beside the codes; their bits are not those of the linears.
    ``table_digits``: balanced-ternary digits of the tables that ``table_roles`` names, 0 = float16. Mean row out,
    channels balanced, a scale per row (``quant.procedures.student.tables``); their latent codes train at
    ``table_rate``, in units of codes, whatever ``tables`` says, which is then of the role that is left out.

    ``held_out``: calibration windows, the last ones, that nothing is learned from: a block keeps what its
    reconstruction made of it, and the model what distillation made of it, only where that is nearer to full precision
    on them. 0: no such check.

    Off by default:

    ``rank`` of a correction added to each linear's codes times scales, float16 factors of 16 (n + k) bits per rank,
    trained at the rate of the scales (low-rank compensation: Yao et al., ZeroQuant-V2, arXiv 2303.08302).
    ``range_penalty``: what distillation adds to its loss, in nats, per unit of the mean over inputs of linears and
    tokens of ln(largest magnitude / root mean square), so that int8 loses less (Kundu et al., R2 Loss, arXiv
    2303.08253, restrict ranges of weights so).
    """

    epochs: Annotated[int, Field(ge=0)] = 12
    block_steps: Annotated[int, Field(ge=0)] | None = None
    block_rate: Annotated[float, Field(gt=0)] = 0.01
    distilled: Literal["all", "scales"] = "all"
    distill_steps: Annotated[int, Field(ge=0)] = 7500
    distill_rate: Annotated[float, Field(gt=0)] = 0.002
    distill_length: Annotated[int, Field(ge=2)] = 2048
    generated_windows: Annotated[int, Field(ge=0)] = 12288
    real_share: Annotated[float, Field(ge=0, le=1)] = 0.25
    block_tokens_per_step: Annotated[int, Field(ge=1)] = 8192
    distill_tokens_per_step: Annotated[int, Field(ge=1)] = 16384
    soften: Annotated[float, Field(ge=0, le=1)] = 0.5
    distill_soften: Annotated[float, Field(ge=0, le=1)] = 0.5
    window: Annotated[int, Field(ge=1)] = 2
    held_out: Annotated[int, Field(ge=0)] = 0
    tables: Literal["kept", "trained"] = "trained"
    table_digits: Annotated[int, Field(ge=0, le=4)] = 0
    table_roles: TableRoles = "both"
    table_rate: Annotated[float, Field(gt=0)] = 0.004
    rank: Annotated[int, Field(ge=0)] = 0
    range_penalty: Annotated[float, Field(ge=0)] = 0.0

    @property
    def procedure(self) -> Procedure:
        """See ``MethodOptions``."""
        return "modelwise"

    @property
    def reconstructs(self) -> bool:
        """Whether blocks are trained before the model is."""
        return self.epochs > 0 if self.block_steps is None else self.block_steps > 0


class TunedOptions(MethodOptions):
    """Base of the options of methods whose linears learn together, from the next tokens of the calibration text.

    ``epochs`` over that text in steps of ``tokens_per_step``, at the peak rate ``rate`` after a ``warmup``, a share of
    all steps.
    """

    epochs: Annotated[int, Field(ge=0)] = 3
    rate: Annotated[float, Field(gt=0)] = 1e-3
    tokens_per_step: Annotated[int, Field(ge=1)] = 16384
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.03

    @property
    def procedure(self) -> Procedure:
        """See ``MethodOptions``."""
        return "tuned"

    @property
    def decay(self) -> Literal["linear", "cosine"]:
        """How the rate falls to zero after its peak."""
        return "cosine"


class Method(Protocol):
    """A method as a module; which of ``Solver`` and ``Learner`` it is besides follows from its procedure."""

    Options: type[MethodOptions]


class Solver(Method, Protocol):
    """A method with a pure function of one linear.

    ``solve(weight, hessian, options)``: weight float32 (n, k); hessian float32 (k, k), ``X^T X`` of the linear's
    calibration inputs up to a positive factor, or None where the method does not use it. Methods whose options have
    ``sampled_tokens`` also take ``inputs`` (tokens, k), a sample of these inputs, None where there is none.
    """

    def solve(self, weight: "Tensor", hessian: "Tensor | None", options: MethodOptions) -> "LinearSolution":
        """Quantize one linear."""
        ...


class Learner(Method, Protocol):
    """A method whose linears are learned together; arguments as of ``Solver.solve``, no Hessian where it is "tuned"."""

    def learned_weight(self, weight: "Tensor", hessian: "Tensor | None", options: MethodOptions) -> "LearnedWeight":
        """Where learning starts."""
        ...


class LearnedWeight(Protocol):
    """A weight (n, k) while it is learned: a tuple of tensors, as ``quant.procedures.latent.LatentWeight`` is."""

    def dense(self) -> "Tensor":
        """Its value, differentiable in what is learned."""
        ...

    def learned(self, rate: float) -> "list[tuple[Tensor, float]]":
        """What is learned, each tensor with its learning rate where the option says ``rate``."""
        ...

    def solution(self) -> "LinearSolution":
        """What is stored."""
        ...
