"""``tritforge-export.json`` beside exported weights: which run they are of, and what is exact."""

from pathlib import Path

from hw.artifact import sha256_file, write_artifact
from quant.exports.finished import Finished

__all__ = ["write_note"]

_SCHEMA, _VERSION = "tritforge.export", 1


def write_note(folder: Path, run: Finished, target: str, file: str, accuracy: str) -> None:
    """Write the note; its hashes are of the exported file, the packed checkpoint and the quantized model."""
    manifest = run.manifest
    body = {
        "format": target,
        "file": file,
        "sha256": sha256_file(folder / file),
        "model": manifest.model,
        "method": manifest.method,
        "options": manifest.options,
        "perplexity": manifest.perplexity,
        "evaluation": manifest.evaluation,
        "accuracy": accuracy,
    }
    inputs = {"weights": manifest.weights_sha256, "source": manifest.source_sha256}
    write_artifact(folder / "tritforge-export.json", _SCHEMA, _VERSION, body, inputs)
