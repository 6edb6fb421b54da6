"""Which devices may share a job; nothing here needs torch but the look at what is there."""

from typing import TYPE_CHECKING

from hw.errors import InputError

if TYPE_CHECKING:
    from quant.methods.method import MethodOptions

__all__ = ["check_devices", "check_shared"]

_SHARED = ("layerwise", "modelwise")  # procedures whose steps several devices can share


def check_devices(names: list[str]) -> None:
    """Look whether they are there.

    Raises:
        InputError: one that is not.
    """
    import torch

    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for name in names:
        if int(name.partition(":")[2]) >= there:
            last = f" to cuda:{there - 1}" if there > 1 else ""
            raise InputError(
                f"devices must be there, not {name!r}: torch sees {f'cuda:0{last}' if there else 'no GPU here'}"
            )


def check_shared(method: str, options: "MethodOptions", given: str) -> None:
    """Refuse a method whose work cannot be shared; ``given``: what asked for it, "devices" or "shards".

    Raises:
        InputError: the method, and which can.
    """
    whole = (options.inputs_in_turn and not options.refit_share) or options.sampled_tokens
    if options.procedure not in _SHARED or whole:
        raise InputError(
            f"{given} must be left out with method {method!r}: shared can be methods that solve linear by "
            "linear, all inputs of a block at once, or train the whole model, such as pt-bitnet and pt-bitnet-full"
        )
