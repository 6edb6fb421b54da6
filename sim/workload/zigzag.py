"""ZigZag's workloads: its list of layers in YAML, and the dictionary of its Python files, read without running it.

Ref: ZigZag 3, ``parser/workload_validator.py``; the dictionaries are those of ZigZag 2.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hw.errors import InputError
from sim.workload.einsum import product_of
from sim.workload.products import Workload, known_fields, workload_of

__all__ = ["read_layers", "read_python"]

_OF_MAPPING = ("core_allocation", "core_allocation_is_fixed", "spatial_mapping", "spatial_mapping_hint",
               "temporal_mapping", "temporal_ordering", "memory_operand_links")  # fmt: skip
_FIELDS = (
    *("id", "name", "operator_type", "equation", "dimension_relations", "equation_relations", "loop_dims"),
    *("loop_sizes", "loop_dim_size", "operand_precision", "operand_source", "constant_operands", "padding"),
    *("operand_source_dimension_mapping", "output_destination", "pr_loop_dims", "pr_loop_sizes", *_OF_MAPPING),
)
_EQUATION = re.compile(r"\s*(\w+)((?:\[\w+\])+)\s*\+=\s*(\w+)((?:\[\w+\])+)\s*\*\s*(\w+)((?:\[\w+\])+)\s*")
_POOLING = "pool"  # ``W`` of such a layer is no tensor

Layer = Mapping[str, Any]


def read_layers(path: Path, layers: list[Any]) -> Workload:
    """The workload of a list of layers."""
    named = [(one.get("name") or f"layer {one.get('id', place)}", one) for place, one in _mappings(path, layers)]
    return _workload(path, named)


def read_python(path: Path, text: str) -> Workload:
    """The workload of ``workload = {1: {...}, ...}``; nothing of the file is run.

    Raises:
        InputError: a file without this assignment, or whose right side is more than a literal.
    """
    try:
        tree = ast.parse(text)
        found = next(
            node.value
            for node in tree.body
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "workload" for target in node.targets)
        )
        value = ast.literal_eval(found)
    except StopIteration:
        raise InputError(f"{path}: must assign a dictionary of layers to 'workload', and does not") from None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise InputError(f"{path}: workload must be a literal dictionary of layers, without calls or names") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: workload must be a dictionary of layers, not {type(value).__name__}")
    checked = _mappings(path, list(value.values()))
    named = [(f"layer {name}", one) for name, (_, one) in zip(value, checked, strict=True)]
    return _workload(path, named)


def _mappings(path: Path, layers: list[Any]) -> Iterator[tuple[int, Layer]]:
    for place, layer in enumerate(layers):
        yield place, known_fields(f"{path}, layer {place}", layer, _FIELDS)


def _workload(path: Path, layers: list[tuple[str, Layer]]) -> Workload:
    products, left_out = [], []
    for name, layer in layers:
        product = _product(path, name, layer)
        if product is None:
            left_out.append(f"{name} ({layer.get('operator_type') or layer.get('equation')})")
        else:
            products.append((name, product))
    return workload_of(path.stem, str(path), products, left_out)


def _product(path: Path, name: str, layer: Layer) -> dict[str, Any] | None:
    """The layer as fields of a product; None: it adds, pools or reshapes."""
    equation = _field(path, name, layer, "equation", str)
    found = _EQUATION.fullmatch(equation)
    if found is None or _POOLING in str(layer.get("operator_type", "")).lower():
        return None
    sizes = _sizes(path, name, layer)
    relations = layer.get("dimension_relations") or layer.get("equation_relations") or []
    related = {left.strip(): set(_words(right)) for left, _, right in (str(one).partition("=") for one in relations)}

    def variables(indexes: str) -> set[str]:
        words = {part for word in _words(indexes) for part in related.get(word, {word})}
        for word in words - sizes.keys():
            raise InputError(f"{path}, {name}: equation's {word!r} must be a loop of the layer, one of {_list(sizes)}")
        return words

    _, output, first, one, second, other = found.groups()
    tensors = {first: variables(one), second: variables(other)}
    weights = first if first == "W" else second
    inputs = second if weights == first else first
    return product_of(name, sizes, tensors[inputs], tensors[weights], variables(output))


def _sizes(path: Path, name: str, layer: Layer) -> dict[str, int]:
    """Loop -> size, in lower case as equations have them; a loop that is not said has size 1 in ZigZag 2."""
    if "loop_dim_size" in layer:
        pairs = list(_field(path, name, layer, "loop_dim_size", dict).items())
    else:
        loops, sizes = (_field(path, name, layer, field, list) for field in ("loop_dims", "loop_sizes"))
        if len(loops) != len(sizes):
            raise InputError(f"{path}, {name}: loop_sizes must be {len(loops)} as loop_dims, not {len(sizes)}")
        pairs = list(zip(loops, sizes, strict=True))
    for loop, size in pairs:
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InputError(f"{path}, {name}: size of loop {loop} must be a whole number from 1, not {size!r}")
    return {str(loop).lower(): size for loop, size in pairs}


def _field(path: Path, name: str, layer: Layer, field: str, kind: type) -> Any:
    if not isinstance(value := layer.get(field), kind):
        raise InputError(f"{path}, {name}: {field} must be a {kind.__name__}, not {value!r}")
    return value


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]\w*", text.lower())


def _list(sizes: Mapping[str, int]) -> str:
    return ", ".join(sizes)
