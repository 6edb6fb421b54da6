"""The array of a SCALE-Sim ``.cfg`` file: its lanes, buffers and dataflow; memory and clock are this simulator's.

Ref: SCALE-Sim v2 and v3, ``scale_config.py``; a word of its buffers is a byte.
"""

from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path

from hw.config import ArrayConfig, sized
from hw.document import validate_document
from hw.errors import InputError, did_you_mean

__all__ = ["read_config"]

_TAKEN = ("ArrayHeight", "ArrayWidth", "IfmapSramSzkB", "FilterSramSzkB", "OfmapSramSzkB", "Dataflow")
_LEFT = (  # said of a memory and of addresses, which this simulator has its own of
    *("IfmapOffset", "FilterOffset", "OfmapOffset", "Bandwidth", "MemoryBanks"),
    *("ReadRequestBuffer", "WriteRequestBuffer"),
)
_ORGANISATIONS = {"ws": "tree", "os": "systolic"}
_LARGEST = 1024


def read_config(path: Path) -> ArrayConfig:
    """A ternary array of the file's rows, columns, buffers and dataflow (``ws``: adder trees, ``os``: systolic).

    IFMAP and OFMAP share the activation buffer. Other fields keep the defaults of an array of that size.

    Raises:
        InputError: a file that cannot be read, an unknown field of the architecture, one that is missing or cannot be.
    """
    parser = ConfigParser()
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        parser.read_string(path.read_text(encoding="utf-8"), str(path))
        fields = dict(parser["architecture_presets"])
        name = parser.get("general", "run_name", fallback=path.stem).strip('"')
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ConfigError, UnicodeDecodeError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: must be a SCALE-Sim configuration with architecture_presets ({reason})") from None
    for field in fields:
        if field not in (*_TAKEN, *_LEFT):
            raise InputError(f"{path}: unknown field {field!r}{did_you_mean(field, (*_TAKEN, *_LEFT))}")
    rows, cols, ifmap, weights, ofmap = (_number(path, fields, field) for field in _TAKEN[:5])
    for field, size in zip(_TAKEN[:2], (rows, cols), strict=True):
        if size > _LARGEST:
            raise InputError(f"{path}: {field} must be at most {_LARGEST}, not {size}")
    dataflow = fields.get("Dataflow", "")
    if dataflow not in _ORGANISATIONS:
        raise InputError(f"{path}: Dataflow must be ws or os, whose machines are built, not {dataflow!r}")
    array = sized(rows, cols)
    if _ORGANISATIONS[dataflow] != array.organisation:
        array = array.reorganised(_ORGANISATIONS[dataflow])  # type: ignore[arg-type]
    changes = {
        "name": name,
        "description": f"{path.name} of SCALE-Sim: lanes, buffers, dataflow {dataflow}",
        "activation_buffer_bytes": (ifmap + ofmap) * 1024,
        "weight_buffer_bytes": weights * 1024,
    }
    return validate_document(array.model_dump() | changes, ArrayConfig, str(path))


def _number(path: Path, fields: dict[str, str], field: str) -> int:
    text = fields.get(field, "")
    if not text.isdecimal() or len(text) > 9 or int(text) < 1:
        raise InputError(f"{path}: {field} must be a whole number from 1, not {text!r}")
    return int(text)
