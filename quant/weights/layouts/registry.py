"""The layouts by name; a new one is a file with its ``Layout``, its name and its line here."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from quant.weights.layouts.bits import Bits
from quant.weights.layouts.layout import Layout
from quant.weights.layouts.mixed import Mixed
from quant.weights.layouts.signs import Signs
from quant.weights.layouts.three_of_four import ThreeOfFour
from quant.weights.layouts.trits import Trits
from quant.weights.layouts.zones import Zones

__all__ = ["LAYOUTS", "CodeLayout"]

CodeLayout = Literal["trits", "bits", "signs", "zones", "mixed", "three-of-four"]

LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        "trits": Trits(),
        "bits": Bits(),
        "signs": Signs(),
        "zones": Zones(),
        "mixed": Mixed(),
        "three-of-four": ThreeOfFour(),
    }
)
