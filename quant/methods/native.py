"""No quantization: a checkpoint whose linears are ternary already is stored as it is (``quant.native``)."""

from quant.methods.method import MethodOptions, Procedure

__all__ = ["Options"]


class Options(MethodOptions):
    """None: trits and scales are the file's."""

    @property
    def procedure(self) -> Procedure:
        """See ``MethodOptions``."""
        return "stored"
