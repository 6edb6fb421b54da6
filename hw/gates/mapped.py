"""A mapped module, from a cache of netlists where design, library, recipe and flow are the same."""

import json
from pathlib import Path

from hw.artifact import sha256_json, write_text
from hw.gates.flow.cells import Library
from hw.gates.flow.technology_mapping import Recipe, flow_text, synthesize

__all__ = ["mapped_module"]


def mapped_module(rtlil: str, library: Library, recipe: Recipe, cache: Path | None) -> dict:
    """Ports and cells of module ``top``; ``cache`` is a folder that keeps them, None: none does."""
    if cache is None:
        return synthesize(rtlil, library, recipe)
    key = sha256_json([rtlil, library.sha256, flow_text(library, recipe)])
    path = cache / f"{key[:24]}.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    module = synthesize(rtlil, library, recipe)
    kept = {"ports": module["ports"], "cells": module["cells"]}
    write_text(path, json.dumps(kept, separators=(",", ":")))
    return kept
