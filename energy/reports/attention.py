"""Attention by placement, digits and length of the prompt beside INT8: measured by ``python -m energy docs``.

A second table puts the perplexities of ``tritforge kv`` beside cycles and joules of the same digits.
"""

import json
from pathlib import Path

from energy.costs.sources import load_source
from energy.job import Job, Rivals, simulate_machines
from energy.model import energy_of
from energy.reports.rows import si
from energy.sizing import Hold
from hw.artifact import write_text
from hw.config import ArrayConfig, load_array
from hw.pages import markdown_table
from quant.shapes import ModelShape, load_shape
from sim.result import SimResult

__all__ = ["attention_table", "measure_attention", "quality_table"]

_MODEL, _ARRAY, _COSTS = "llama2-7b", "mobile-64x64", "gates:asap7"
_PROMPTS = (512, 2048, 8192, 32768)
_DIGITS = ((5, 5, True), (4, 4, True), (4, 3, True), (4, 3, False), (3, 3, True))  # of K and V, q and k rotated
_WIDE = 256  # vector lanes that this size of array has where its attention runs on them
_FLOAT = "float"
_MEASURED = {  # formats whose perplexity tritforge kv measures, by its spelling: digits of K and of V, q and k rotated
    f"digits:{key if key == value else f'{key}/{value}'}{',rotate' if rotate else ''}": (key, value, rotate)
    for key, value in ((5, 5), (4, 4), (4, 3), (3, 3), (3, 2))
    for rotate in (True, False)
}
_MEASURED_MODELS = ("smollm2-135m", "qwen2.5-0.5b")
_SHAPES = {"qwen2.5-coder-0.5b": "qwen2.5-0.5b"}  # of measured models that ship under another name
_HOLDS: tuple[Hold, ...] = ("lanes", "compute-area")
_HEADER = ("prompt", "K and V", "scores and values on", "lanes", "prefill", "J/token", "decode tokens/s", "J/token")
_QUALITY_HEADER = ("model", "weights", "K and V", "perplexity", "change", *_HEADER[4:])


def measure_attention(path: Path) -> None:
    """Simulate every placement, digits and prompt, then the measured models, and write a row each."""
    document = {"prompts": _prompts(), "models": [row for model in _MEASURED_MODELS for row in _formats(model)]}
    write_text(path, json.dumps(document, indent=1) + "\n")


def attention_table(path: Path) -> str:
    """One line per placement, digits and prompt."""
    rows = json.loads(path.read_text(encoding="utf-8"))["prompts"]
    return markdown_table(list(_HEADER), [_cells(row) for row in rows])


def quality_table(path: Path, perplexities: Path) -> str:
    """One line per measured perplexity whose format was simulated too; ``perplexities``: rows of ``tritforge kv``."""
    simulated = {(row["model"], row["cache"]): row for row in json.loads(path.read_text(encoding="utf-8"))["models"]}
    measured = json.loads(perplexities.read_text(encoding="utf-8"))["rows"]
    lines = []
    for row in measured:
        if cost := simulated.get((_SHAPES.get(row["model"], row["model"]), row["kv"])):
            change = f"{row['change']:+.2%}" if row["kv"] != _FLOAT else "-"
            spelled = "16 bits, on the vector unit" if row["kv"] == _FLOAT else f"`{row['kv']}`"
            lines.append([row["model"], row["weights"], spelled, f"{row['perplexity']:.2f}", change, *_cells(cost)[4:]])
    return markdown_table(list(_QUALITY_HEADER), lines)


def _formats(model: str) -> list[dict]:
    """A measured model's shape over K and V in 16 bits, and in all digits whose perplexity is measured."""
    shape, job = load_shape(model), Job(model=model, array=_ARRAY, costs=_COSTS)
    deep = ArrayConfig(**load_array(_ARRAY).model_dump() | {"planes": 5})
    rows = []
    for spelled, digits in ({_FLOAT: None} | _MEASURED).items():
        fields: dict[str, object] = {"attention": "vector"}
        if digits:
            key, value, rotate = digits
            fields = {"attention": "array", "key_digits": key, "value_digits": value, "rotate": rotate}
        machine = deep if digits and max(digits[:2]) > load_array(_ARRAY).planes else load_array(_ARRAY)
        result = job.model_copy(update=fields).simulate(shape, machine)
        rows.append(_row(job.prefill, spelled, result) | {"model": model})
    return rows


def _prompts() -> list[dict]:
    """Placements and digits by length of the prompt, the model's own limit of positions lifted."""
    shape = load_shape(_MODEL).model_copy(update={"max_positions": 2 * _PROMPTS[-1]})
    array = load_array(_ARRAY)
    wide, deep = (ArrayConfig(**array.model_dump() | fields) for fields in ({"vector_lanes": _WIDE}, {"planes": 5}))
    rows = []
    for prompt in _PROMPTS:
        plain = Job(model=_MODEL, array=_ARRAY, costs=_COSTS, kv_bits=8, prefill=prompt)
        on_vector_unit = plain.model_copy(update={"attention": "vector"})
        rows += [_row(prompt, "8 bits", on_vector_unit.simulate(shape, machine)) for machine in (array, wide)]
        for key, value, rotate in _DIGITS:
            fields = {"attention": "array", "key_digits": key, "value_digits": value, "rotate": rotate}
            label = f"{key} and {value} digits{', rotated' if rotate else ''}"
            machine = deep if max(key, value) > array.planes else array
            rows.append(_row(prompt, label, plain.model_copy(update=fields).simulate(shape, machine)))
        rows += [_rival_row(plain, shape, prompt, hold) for hold in _HOLDS]
    return rows


def _rival_row(job: Job, shape: ModelShape, prompt: int, hold: Hold) -> dict:
    """INT8 with as much of ``hold`` as the ternary machine, and a bus that takes a tile in as many cycles."""
    _, results = simulate_machines(job, shape, None, Rivals(rivals="int8", rival_bus="balanced", hold=hold))
    return _row(prompt, f"8 bits, INT8 of equal {hold.replace('-', ' ')}", results[1])


def _row(prompt: int, label: str, result: SimResult) -> dict:
    energy = energy_of(result, load_source(_COSTS))
    prefill, decode = energy.phase("prefill"), energy.phase("decode")
    array = result.array
    (scores,) = (op for op in result.phase("prefill").ops if op.name == "attention_scores")
    return {
        "prompt": prompt,
        "cache": label,
        "unit": scores.unit,
        "lanes": f"{array.rows}x{array.cols} + {array.vector_lanes}",
        "prefill_s": prefill.seconds,
        "prefill_j_per_token": prefill.joules_per_token,
        "decode_tokens_per_s": decode.tokens / decode.seconds,
        "decode_j_per_token": decode.joules_per_token,
    }


def _cells(row: dict) -> list[str]:
    return [
        f"{row['prompt']}",
        row["cache"],
        {"array": "array", "vector": "vector unit"}[row["unit"]],
        row["lanes"],
        si(row["prefill_s"], "s"),
        si(row["prefill_j_per_token"], "J"),
        f"{row['decode_tokens_per_s']:.4g}",
        si(row["decode_j_per_token"], "J"),
    ]
