"""PT-BitNet at full strength: the closed form, then block reconstruction, then distillation of the whole model.

Ref: Guo et al., PT-BitNet, Neural Networks 191:107855, 2025, see ``quant.methods.pt_bitnet``; its abstract's "we
optimize the weight elements in a block-wise manner" is read as a reconstruction of blocks
(``quant.procedures.reconstruct``). Distillation (``quant.procedures.distill``) is not in the paper.
"""

from quant.methods.method import ModelOptions
from quant.methods.pt_bitnet import ClosedForm, solve

__all__ = ["Options", "solve"]


class Options(ModelOptions, ClosedForm):
    """Those of the closed form and of training."""
