"""A finished run whose files were damaged afterwards: found out file by file, and made again to the same bits."""

import pytest

from hw.artifact import read_artifact, write_artifact
from hw.errors import InputError
from quant import pipeline
from quant.exports.finished import open_finished
from quant.job import QuantJob
from quant.pipeline import quantize

pytestmark = pytest.mark.torch

FILES = ("ternary.safetensors", "recording.safetensors", "recording.json", "manifest.json", "reference")


@pytest.fixture
def job(tiny_folder, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    sizes = {"length": 32, "windows": 2, "calibration_windows": 8, "recorded_tokens": 12}
    return QuantJob(model=str(tiny_folder), method="rtn", text=tiny_text, calib=tiny_text, **sizes)


def flipped(data):
    """One bit: in JSON of a digit in the middle, which makes another number, in tensors of the data at the end."""
    middle = range(len(data) // 2, len(data))
    at = next(at for at in middle if data[at : at + 1].isdigit()) if data.startswith(b"{") else len(data) - 5
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


DAMAGES = {"flipped": flipped, "cut": lambda data: data[: len(data) // 2], "empty": lambda data: b""}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_made_again(job, name, damage):
    done = quantize(job)
    folder = done.folder
    found = next(folder.parent.glob("reference-*.json")) if name == "reference" else folder / name
    whole = {path: path.read_bytes() for path in [*folder.iterdir(), *folder.parent.glob("reference-*.json")]}
    perplexity = done.manifest.perplexity
    found.write_bytes(DAMAGES[damage](whole[found]))
    assert found.read_bytes() != whole[found]
    if name == "reference":  # it is read where something else is to be measured
        (folder / "manifest.json").unlink()
    again = quantize(job)
    assert again.manifest.perplexity == perplexity
    for path, data in whole.items():
        if path.suffix == ".safetensors":
            assert path.read_bytes() == data
    assert found.read_bytes() != DAMAGES[damage](whole[found])


def test_an_export_of_damaged_trits_is_refused_by_the_files_name(job):
    folder = quantize(job).folder
    packed = folder / "ternary.safetensors"
    packed.write_bytes(flipped(packed.read_bytes()))
    with pytest.raises(InputError, match=r"ternary\.safetensors: must be the file that manifest\.json was written for"):
        open_finished(folder)


def test_a_sealed_artifact_that_was_edited_is_refused(tmp_path):
    path = tmp_path / "a.json"
    write_artifact(path, "tritforge.test", 1, {"perplexity": 7.25, "rows": [1, 2]}, {}, sealed=True)
    assert read_artifact(path, "tritforge.test", 1)["perplexity"] == 7.25
    path.write_text(path.read_text().replace("7.25", "7.26"))
    with pytest.raises(InputError, match=r"a\.json: must hold what was written, as its seal says; .* write it again"):
        read_artifact(path, "tritforge.test", 1)
    write_artifact(path, "tritforge.test", 1, {"perplexity": 7.25}, {})  # unsealed ones may be edited
    path.write_text(path.read_text().replace("7.25", "7.26"))
    assert read_artifact(path, "tritforge.test", 1)["perplexity"] == 7.26
