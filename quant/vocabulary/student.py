"""What trains of a float model beside its tables: copies of its blocks, and the rates of their linears."""

from torch import Tensor

from quant.llama.blocks import LoadedModel
from quant.procedures.latent import BlockTensors
from quant.procedures.modelwise import teacher_blocks
from quant.procedures.reconstruct import by_rate

__all__ = ["body_groups", "student_blocks"]


def student_blocks(loaded: LoadedModel, trains_body: bool) -> list[BlockTensors]:
    """The model's blocks with norms of their own, and with linears of their own where these train."""

    def own(tensor: Tensor) -> Tensor:
        return tensor.detach().clone()

    return [
        block._replace(
            weights=tuple(map(own, block.weights)) if trains_body else block.weights,
            attention_norm=own(block.attention_norm),
            mlp_norm=own(block.mlp_norm),
        )
        for block in teacher_blocks(loaded)
    ]


def body_groups(student: list[BlockTensors], rate: float) -> list[dict[str, object]]:
    """Parameter groups of the float linears: ``rate`` times the root mean square of each one's weights."""
    weights = [weight for block in student for weight in block.weights]
    return by_rate([(weight, rate * weight.square().mean().sqrt().item()) for weight in weights])
