"""The one file that knows the names inside transformers' models: decoder linears, int8 activations, forward by blocks.

A model small enough is held whole on its device in float32. A larger one is *streamed*: its blocks wait on the host in
the type of their file, and ``working_block`` brings one at a time to the device in float32.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from quant.shapes import LINEAR_KINDS, ModelShape, linear_name

__all__ = [
    "DecoderLinear",
    "InputsTaken",
    "LoadedModel",
    "Tokenizer",
    "add_bias",
    "block_inputs",
    "block_linears",
    "block_norms",
    "blocks",
    "decoder_linears",
    "embed",
    "first_blocks",
    "forget_arguments",
    "int8_activations",
    "is_tied",
    "layer_arguments",
    "logits_of",
    "must_stream",
    "norm_names",
    "norm_weights",
    "place",
    "product_precision",
    "quantize_dequantize",
    "quantize_tokens",
    "run_block",
    "streams",
    "working_block",
]

_RESIDENT_BYTES = 8 << 30  # of the largest model that is held whole in float32
_STREAMS = "blocks_wait_on_the_host"  # attribute of a streamed model

_ARGUMENTS = "arguments_of_the_layers"  # attribute: the last length, device and attention, and what its layers get

_OWN_BIAS = "bias_of_the_file"  # attribute of a linear whose outputs have constants


class Tokenizer(Protocol):
    """What evaluation and calibration need of a tokenizer."""

    def encode(self, text: str) -> list[int]:
        """Token ids of a text."""
        ...

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens in the middle of a text; bytes that are no UTF-8 by themselves come as U+FFFD."""
        ...


class LoadedModel(NamedTuple):
    """A model in evaluation mode (see ``place``), its tokenizer, and where both came from.

    ``weights_sha256``: of the weights at ``path``, as ``quant.source.located`` takes it.
    """

    model: PreTrainedModel
    tokenizer: Tokenizer
    path: Path
    shape: ModelShape
    weights_sha256: str


class DecoderLinear(NamedTuple):
    """One linear that is quantized."""

    layer: int
    kind: str
    module: nn.Linear

    @property
    def name(self) -> str:
        """Its module's path, for messages."""
        return linear_name(self.layer, self.kind)


def must_stream(shape: ModelShape) -> bool:
    """Whether a model is too large to be held whole in float32."""
    return 4 * shape.total_parameters > _RESIDENT_BYTES


def place(model: PreTrainedModel, device: torch.device, streamed: bool) -> PreTrainedModel:
    """Move a model from the host to where it works: all of it in float32, or all but the blocks of a streamed one."""
    model.eval().requires_grad_(False)
    setattr(model, _STREAMS, streamed)
    if not streamed:
        return model.to(device, torch.float32)
    for module in (model.model.embed_tokens, model.model.norm, model.model.rotary_emb, model.lm_head):
        module.to(device, torch.float32)
    return model


def streams(model: PreTrainedModel) -> bool:
    """Whether the model's blocks wait on the host."""
    return getattr(model, _STREAMS, False)


def working_block(model: PreTrainedModel, layer: int) -> nn.Module:
    """One decoder layer in float32 on the model's device: the model's own, or a copy of one that waits on the host."""
    block = blocks(model)[layer]
    if not streams(model):
        return block
    device = model.model.embed_tokens.weight.device
    moved = {id(p): nn.Parameter(p.to(device, copy=True).float(), requires_grad=False) for p in block.parameters()}
    return copy.deepcopy(block, moved).to(device)


def is_tied(model: PreTrainedModel) -> bool:
    """Whether one table is embedding and head."""
    return model.lm_head.weight is model.model.embed_tokens.weight


def blocks(model: PreTrainedModel) -> Sequence[nn.Module]:
    """The decoder layers in order."""
    return model.model.layers


@contextmanager
def first_blocks(model: PreTrainedModel, count: int) -> Iterator[None]:
    """Inside, the model ends after its first ``count`` blocks."""
    whole = model.model.layers
    model.model.layers = whole[:count]
    try:
        yield
    finally:
        model.model.layers = whole
        forget_arguments(model)  # which were made of these blocks alone


def block_linears(block: nn.Module, layer: int) -> list[DecoderLinear]:
    """The seven linears of one decoder layer, in the order in which a token meets them."""
    named = {name.rpartition(".")[2]: module for name, module in block.named_modules()}
    return [DecoderLinear(layer, kind, named[kind]) for kind in LINEAR_KINDS]


def add_bias(linear: nn.Linear, constants: Tensor) -> None:
    """Add constants ``(n,)`` to a linear's outputs, beside its own bias; in the place of constants added before."""
    if not hasattr(linear, _OWN_BIAS):
        setattr(linear, _OWN_BIAS, (linear.bias,))  # a tuple, which no module takes for a parameter of its own
    (own,) = getattr(linear, _OWN_BIAS)
    value = constants.to(linear.weight.device, torch.float32)
    linear.bias = nn.Parameter((value if own is None else own + value).to(linear.weight.dtype), requires_grad=False)


def decoder_linears(model: PreTrainedModel) -> Iterator[DecoderLinear]:
    """Every linear that is quantized, layer by layer."""
    for layer, block in enumerate(blocks(model)):
        yield from block_linears(block, layer)


def norm_weights(model: PreTrainedModel) -> dict[str, nn.Parameter]:
    """The RMSNorm gains by name: two per layer (``layers.3.input_layernorm``) and ``norm``."""
    named = model.model.named_parameters()
    return {name.removesuffix(".weight"): value for name, value in named if name.endswith("norm.weight")}


def block_norms(block: nn.Module, layer: int) -> dict[str, nn.Parameter]:
    """The gains of the norms before attention and before the MLP, by the names of the model's; none in OLMo 2."""
    names = [name for name in norm_names(block)[::2] if name is not None]
    return {f"layers.{layer}.{name}": block.get_submodule(name).weight for name in names}


def norm_names(block: nn.Module) -> tuple[str | None, str | None, str | None, str | None]:
    """Names of the norms before and after attention, before and after the MLP; None where there is none.

    LLaMA has the first and the third, Gemma all, OLMo 2 the second and the fourth. The third's name says little:
    ``post_attention_layernorm`` stands before LLaMA's MLP and after Gemma's attention.
    """
    present = dict(block.named_children())
    first, after = ("input_layernorm" if "input_layernorm" in present else None), "post_attention_layernorm"
    if "post_feedforward_layernorm" not in present:
        return first, None, after, None
    before = "pre_feedforward_layernorm" if "pre_feedforward_layernorm" in present else None
    return first, after, before, "post_feedforward_layernorm"


def quantize_tokens(x: Tensor) -> tuple[Tensor, Tensor]:
    """``hw.golden.quantize_tokens`` in torch, equal bit for bit: float32 ``(..., k)`` -> int8, float32 ``(...,)``."""
    scale = x.abs().amax(-1) / 127
    divisor = torch.where(scale > 0, scale, 1.0)[..., None]
    return torch.round(x / divisor).clamp(-127, 127).to(torch.int8), scale


def quantize_dequantize(x: Tensor) -> Tensor:
    """The values that the int8 activations of ``x`` stand for; gradients pass straight through."""
    scale = (x.detach().abs().amax(-1, keepdim=True) / 127).clamp_min(torch.finfo(torch.float32).tiny)
    rounded = torch.round(x.detach() / scale).clamp(-127, 127) * scale
    return x + (rounded - x).detach() if x.requires_grad else rounded


@contextmanager
def int8_activations(model: nn.Module, enabled: bool = True) -> Iterator[None]:
    """Inside, every decoder linear of ``model`` (a model or one block) sees per-token int8 activations."""
    modules = [module for name, module in model.named_modules() if name.rpartition(".")[2] in LINEAR_KINDS]
    handles = [m.register_forward_pre_hook(_fake_quantize) for m in modules] if enabled else []
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _fake_quantize(module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
    return (quantize_dequantize(arguments[0]),)


def embed(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Input of the first block: int64 ``(batch, length)`` -> ``(batch, length, hidden)``."""
    seen: list[Tensor] = []

    def keep(layer: int, hidden: Tensor, arguments: dict[str, object]) -> Tensor:
        seen.append(hidden)
        return hidden

    with _layers_as(model, keep):
        model.model(input_ids=tokens, use_cache=False)
    return seen[0]


def logits_of(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Final norm, head, and what the family does to the logits: ``(..., hidden)`` -> ``(..., vocab)``."""
    states = hidden.reshape(-1, 1, hidden.shape[-1])  # as many sequences of one token
    with _layers_as(model, lambda layer, _, arguments: states):
        logits = model(inputs_embeds=states, use_cache=False).logits
    return logits.reshape(*hidden.shape[:-1], -1)


def run_block(model: PreTrainedModel, block: nn.Module, hidden: Tensor) -> Tensor:
    """One decoder layer over whole rows: ``(batch, length, hidden)`` to the same."""
    with product_precision(model):
        output = block(hidden, **layer_arguments(model, block, hidden))
    return output[0] if isinstance(output, tuple) else output


def layer_arguments(model: PreTrainedModel, block: nn.Module, hidden: Tensor) -> dict[str, object]:
    """What the model itself gives this decoder layer beside ``hidden``: mask, positions, rotary tables.

    They are taken from a pass of transformers' own model in which the layers do nothing, so windows, layers of
    different kinds and rotary scaling are as the family defines them.
    """
    key = hidden.shape[1], hidden.device, model.config._attn_implementation
    last, found = getattr(model, _ARGUMENTS, (None, []))
    if last != key:
        found = []

        def keep(layer: int, states: Tensor, arguments: dict[str, object]) -> Tensor:
            found.append(arguments)
            return states

        with _layers_as(model, keep), torch.no_grad():
            model.model(inputs_embeds=torch.zeros_like(hidden[:1], dtype=torch.float32), use_cache=False)
        setattr(model, _ARGUMENTS, (key, found))
    return found[block.self_attn.layer_idx]


def forget_arguments(model: PreTrainedModel) -> None:
    """Have what the layers get made anew, after a change of the model's config."""
    if hasattr(model, _ARGUMENTS):
        delattr(model, _ARGUMENTS)


@contextmanager
def _layers_as(model: PreTrainedModel, stand_in: Callable[[int, Tensor, dict[str, object]], Tensor]) -> Iterator[None]:
    """Inside, each decoder layer is ``stand_in(layer, hidden, arguments)``."""

    def forward(layer: int) -> Callable[..., Tensor]:
        return lambda hidden, **arguments: stand_in(layer, hidden, arguments)

    for layer, block in enumerate(blocks(model)):
        block.forward = forward(layer)
    try:
        yield
    finally:
        for block in blocks(model):
            del block.forward


@contextmanager
def product_precision(model: PreTrainedModel) -> Iterator[None]:
    """TF32 products on a GPU for streamed models.

    Their weights come with the 10 bits after the point that TF32 keeps, or fewer; and Hessians of inputs rounded so are
    those of inputs that differ by an eighth of what int8 changes them by.
    """
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = before or streams(model)
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


class InputsTaken(Exception):
    """Ends a forward pass whose remaining results nobody wants."""


@contextmanager
def block_inputs(linears: Sequence[DecoderLinear], last: str | None = None) -> Iterator[dict[str, Tensor]]:
    """Inside, each forward pass leaves the input of every linear, by kind, in the yielded dictionary.

    A pass raises ``InputsTaken`` once it has left the input of the linear of kind ``last``.
    """
    seen: dict[str, Tensor] = {}

    def keep(kind: str):
        def hook(module: nn.Module, arguments: tuple[Tensor]) -> None:
            seen[kind] = arguments[0].detach()
            if kind == last:
                raise InputsTaken

        return hook

    handles = [linear.module.register_forward_pre_hook(keep(linear.kind)) for linear in linears]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
