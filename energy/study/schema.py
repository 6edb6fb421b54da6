"""JSON schema of study files, for editors, with the names of axes and metrics in it."""

from energy.study.document import Study
from energy.study.machine import AXES, PLACEMENT
from energy.study.metrics import FIGURES

__all__ = ["study_schema"]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def study_schema() -> dict:
    """Schema of a study file; derived metrics may be named wherever metrics are."""
    schema = Study.model_json_schema()
    fields = schema["properties"]
    fields["schema"] = {"const": Study.file_schema, "description": "kind and version of the file"}
    names = {"anyOf": [{"enum": list(AXES)}, {"pattern": f"^{PLACEMENT.replace('.', '[.]')}.+"}]}
    fields["axes"]["propertyNames"] = names
    fields["zip"]["items"]["propertyNames"] = names
    for objectives in ("minimize", "maximize"):
        fields[objectives]["items"] = {"anyOf": [{"enum": list(FIGURES)}, {"type": "string"}]}
    return {"$schema": _DIALECT, **schema, "title": "tritforge study"}
