"""mkdocs' hook that adds the reference to the site: generated when the site is built, so that it is never behind.

Own code in place of mkdocstrings: names and sentences are wanted, one line each, not the source with its members; and
the fields of documents come from the records that check them, which no docstring lists.
"""

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

from energy.reports.reference.api import api_tables
from energy.reports.reference.schemas import SCHEMAS, fields_table

__all__ = ["on_files", "reference_pages"]

_ABOUT = {
    "hw": "the array: arithmetic, golden model, configuration, Verilog",
    "quant": "the weights: shapes, methods, checkpoints, recordings",
    "sim": "the cycles: traces, machines, results",
    "energy": "the joules: costs, rivals, studies, tables of results",
}
_DOCUMENTS = {
    "array": "Arrays: `hw/arrays/*.yaml`, `--array FILE.yaml`",
    "memory": "Memories: `sim/memories/*.yaml`, `--memory FILE.yaml`",
    "model": "Shapes of models: `quant/models/*.yaml`, `--model FILE.yaml`",
    "host": "The host beside the array: `--host FILE.yaml`",
    "job": "Jobs: `--job FILE.yaml`, and options of `tritforge sim`",
    "quant-job": "Quantization: in job files, and options of `tritforge quant`",
    "costs": "Costs: `energy/tech/*.yaml`, `--costs FILE.yaml`; [energy](energy.md) says what each table gives",
    "study": "Studies: `energy/studies/*.yaml`, `--study FILE.yaml`; how they are written is in [studies](studies.md)",
    "study-base": "Bases and axes of studies, beside a job's fields",
}


def reference_pages() -> dict[str, str]:
    """Markdown of each page by its name."""
    names = ["# Reference: names", "Public names of the four packages, each with what its docstring says first."]
    names += [f"## {package}: {about}\n\n{api_tables(package)}" for package, about in _ABOUT.items()]
    fields = ["# Reference: fields", "Of the YAML documents that people write. Unknown fields are refused by name."]
    fields += [f"## {_DOCUMENTS[name]}\n\n{fields_table(name)}" for name in SCHEMAS]
    return {"reference.md": "\n\n".join(names) + "\n", "schemas.md": "\n\n".join(fields) + "\n"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages to those of ``docs/``."""
    for name, text in reference_pages().items():
        files.append(File.generated(config, name, content=text))
    return files
