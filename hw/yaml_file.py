"""One YAML file as plain values; what YAML would let through silently is refused here with file and line."""

from collections.abc import Iterator
from pathlib import Path

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode

from hw.errors import InputError

__all__ = ["read_yaml"]

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it: ten times as fast
_MOST_NODES = 200_000  # with every alias counted as what it stands for; shipped documents have some hundred
_MERGE = "tag:yaml.org,2002:merge"


class _Refused(yaml.YAMLError):
    """YAML that is well formed and not accepted."""

    def __init__(self, problem: str, node: Node) -> None:
        super().__init__(problem)
        self.problem, self.problem_mark = problem, node.start_mark


class _Loader(_LOADER):  # type: ignore[misc, valid-type]
    """The safe loader that refuses a key given twice, and aliases that stand for more than a document can hold."""

    def get_single_data(self) -> object:
        """The document's value, once its nodes have been looked at."""
        node = self.get_single_node()
        if node is None:
            return None
        _check(node)
        return self.construct_document(node)


def read_yaml(path: Path) -> object:
    """The value of one YAML file.

    Raises:
        InputError: a file that cannot be read, is not UTF-8 or not YAML, gives a key twice, or unfolds without bound.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 YAML text, not binary data") from None
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" line {line + 1}" if line is not None else ""
        raise InputError(f"{path}:{where} is not valid YAML ({getattr(error, 'problem', error)})") from None
    except (ValueError, RecursionError) as error:  # a number, date or base64 text that Python cannot hold
        raise InputError(f"{path}: holds a value that cannot be read ({error})") from None


def _check(root: Node) -> None:
    """Look at every node once, children first.

    Raises:
        _Refused: a duplicate key, a node that holds itself, or more than ``_MOST_NODES`` nodes after aliases.
    """
    sizes: dict[int, int] = {}  # node -> nodes under it, aliases unfolded
    open_nodes: set[int] = set()  # those whose children are being looked at
    stack = [(root, False)]
    while stack:
        node, seen = stack.pop()
        if seen:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
            if sizes[id(node)] > _MOST_NODES:
                raise _Refused(f"must unfold to at most {_MOST_NODES} values, aliases counted as what they name", node)
        elif id(node) in open_nodes:
            raise _Refused("an alias must not stand inside what it names", node)
        elif id(node) not in sizes:
            if isinstance(node, MappingNode):
                _check_keys(node)
            open_nodes.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in _children(node)]


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        return (part for pair in node.value for part in pair)
    return iter(()) if isinstance(node, ScalarNode) else iter(node.value)


def _check_keys(node: MappingNode) -> None:
    """Refuse a key that stands twice in one mapping; YAML would keep the last value without a word."""
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, ScalarNode) and key.tag != _MERGE:
            line = key.start_mark.line + 1
            if before := first.get(name := (key.tag, key.value)):
                raise _Refused(f"key {key.value!r} is given twice, first in line {before}; keep one of them", key)
            first[name] = line
