"""What is fuzzed: every parser of bytes that another program, another machine or a stranger wrote.

A target takes bytes and either works or refuses them with ``InputError``. Anything else is a finding: another
exception, an execution of more than ``SECONDS``, memory that grows by more than ``MEMORY_BYTES``, a file outside the
target's folder.
"""

import hashlib
import json
import resource
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from energy.job import Job
from energy.study.document import load_study
from hw.config import ArrayConfig, load_array, sized
from hw.document import load_mapping, validate_document
from hw.errors import InputError
from hw.formats import GemmFormat
from hw.host.protocol import ANSWER, Frame, FrameReader, Hello, Kind, Status, encode
from hw.host.session import Session
from hw.host.zynq import Accelerator
from hw.job import CoreJob, descriptor_bits
from hw.trit import unpack
from quant.job import QuantJob
from quant.llama2c import Llama2cTokenizer, read_weights
from quant.manifest import read_manifest
from quant.native.detect import is_native
from quant.native.gguf_file import beside_linears, open_gguf, read_linear
from quant.recording import read_recording
from quant.shapes import LINEAR_KINDS, load_shape
from quant.source import resolve
from quant.weights.checkpoint import Checkpoint
from sim.memory import load_memory
from sim.result import read_result
from sim.trace.file import read_trace

__all__ = ["CORPUS", "MEMORY_BYTES", "SECONDS", "TARGETS", "Finding", "Target", "execute", "seeds", "work_folder"]

CORPUS = Path(__file__).with_name("corpus")
SECONDS = 5  # one execution; the machine may be busy
MEMORY_BYTES = 256 << 20  # by which the peak of the process may grow; inputs have a few kilobytes

_VOCABULARY = 300  # tokens of the llama2.c vocabulary of the corpus


class Finding(BaseException):  # no parser catches it
    """What a parser must not do."""


class Target(NamedTuple):
    """``about``: the parser, for the table; ``form``: how its inputs are damaged, see ``tests.fuzz.mutations``;
    ``read``: given the bytes and a folder to write files to.
    """

    about: str
    form: str
    read: Callable[[bytes, Path], object]


def execute(target: Target, data: bytes) -> bool:
    """Run a target once; True where it took the bytes, False where it refused them.

    Raises:
        Finding: it did neither.
    """
    folder = work_folder()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _time_limit():
            target.read(data, folder)
        taken = True
    except InputError as error:
        if "\n" in str(error).strip():
            raise Finding(f"the refusal is not one line: {error}") from error
        taken = False
    except Exception as error:
        raise Finding(f"{type(error).__name__}: {error}") from error
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    if grown > MEMORY_BYTES:
        raise Finding(f"memory grew by {grown >> 20} MiB for {len(data)} bytes")
    if escaped := [path.name for path in folder.parent.iterdir() if path != folder]:
        raise Finding(f"wrote outside its folder: {escaped}")
    return taken


def seeds(name: str) -> list[bytes]:
    """The corpus of a target."""
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@cache
def work_folder() -> Path:
    """A folder of this process's own, alone in its parent."""
    shared = Path("/dev/shm")
    place = tempfile.TemporaryDirectory(prefix="fuzz-", dir=shared if shared.is_dir() else None)
    _keep.append(place)
    folder = Path(place.name) / "files"
    folder.mkdir()
    return folder


_keep: list[tempfile.TemporaryDirectory] = []  # removed at exit


@contextmanager
def _time_limit() -> Iterator[None]:
    def late(*_: object) -> None:
        raise Finding(f"runs for more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def _gguf(data: bytes, folder: Path) -> None:
    path = _written(folder, "model.gguf", data)
    shape = resolve(str(path)).shape
    if is_native(path):
        file = open_gguf(path)
        for layer in range(min(shape.layers, 2)):
            for kind in LINEAR_KINDS:
                read_linear(file, layer, kind, shape)
        beside_linears(file, shape)


def _llama2c(data: bytes, folder: Path) -> None:
    path = _written(folder, "model.bin", data)
    resolve(str(path))
    read_weights(path)


def _vocabulary(data: bytes, folder: Path) -> None:
    tokenizer = Llama2cTokenizer(_written(folder, f"tok{_VOCABULARY}.bin", data), _VOCABULARY)
    tokens = tokenizer.encode("Once upon  a time, 1 größe.")
    if any(not 0 <= token < _VOCABULARY for token in tokens):
        raise Finding(f"token of no entry: {tokens}")
    tokenizer.decode(tokens)


def _directory(data: bytes, folder: Path, name: str) -> None:
    """One file of a Hugging Face directory, the others being those of the corpus."""
    place = folder / "model"
    place.mkdir(exist_ok=True)
    files = {
        "config.json": seeds("hf_config")[0],
        "model.safetensors": seeds("safetensors")[0],
        "model.safetensors.index.json": seeds("safetensors_index")[0],
        name: data,
    }
    for file, content in files.items():
        (place / file).write_bytes(content)
    shape = resolve(str(place)).shape
    if shape.layers < 1000:
        _ = shape.total_parameters, shape.sha256
    is_native(place)


def _checkpoint(data: bytes, folder: Path) -> None:
    checkpoint = Checkpoint(_written(folder, "ternary.safetensors", data))
    for layer, kind in checkpoint:
        checkpoint.linear(layer, kind)
    checkpoint.entries()
    checkpoint.norms()


def _manifest(data: bytes, folder: Path) -> None:
    manifest = read_manifest(_written(folder, "manifest.json", data))
    _ = manifest.true_bits, manifest.zero_fraction, manifest.group_sizes


def _recording(data: bytes, folder: Path) -> None:
    _written(folder, "recording.json", data)
    _written(folder, "recording.safetensors", seeds("recording_tensors")[0])
    _use_recording(folder)


def _recording_tensors(data: bytes, folder: Path) -> None:
    """Tensors of which the header beside them has the right hash."""
    header = json.loads(seeds("recording")[0])
    header["tensors_sha256"] = hashlib.sha256(data).hexdigest()
    _written(folder, "recording.json", json.dumps(header).encode())
    _written(folder, "recording.safetensors", data)
    _use_recording(folder)


def _use_recording(folder: Path) -> None:
    recording = read_recording(folder)
    for record in recording.linears:
        q = recording.activations(record)
        if q.dtype != np.int8 or q.shape[1] != record.k:
            raise Finding(f"activations of {record.kind} are {q.dtype} {q.shape}")


def _trace(data: bytes, folder: Path) -> None:
    read_trace(_written(folder, "trace.json", data), load_shape("stories260K"), sized(8, 8))


def _result(data: bytes, folder: Path) -> None:
    read_result(_written(folder, "sim.json", data))


def _array(data: bytes, folder: Path) -> None:
    array = load_array(str(_written(folder, "array.yaml", data)))
    _ = array.sha256, array.pipeline_latency, array.result_queue_depth, array.max_k, array.accumulator_buffer_bits
    for mac in ("int8", "fp16"):
        _ = array.baseline(mac).weight_beats


def _memory(data: bytes, folder: Path) -> None:
    memory = load_memory(str(_written(folder, "memory.yaml", data)))
    _ = memory.model_dump_json()


def _model(data: bytes, folder: Path) -> None:
    shape = load_shape(str(_written(folder, "model.yaml", data)))
    _ = shape.sha256, shape.total_parameters


def _study(data: bytes, folder: Path) -> None:
    _ = load_study(str(_written(folder, "study.yaml", data))).points


def _job(data: bytes, folder: Path) -> None:
    fields = load_mapping(_written(folder, "job.yaml", data), "tritforge.job.1")
    for model in (QuantJob, Job):
        known = {name: value for name, value in fields.items() if name in model.model_fields}
        validate_document(known, model, "job.yaml")


def _frames(data: bytes, _: Path) -> None:
    reader, taken = FrameReader(), 0
    for start in range(0, len(data), 61):
        for frame in reader.feed(data[start : start + 61]):
            if encode(frame) not in data:
                raise Finding(f"a frame that was not sent: {frame}")
            taken += len(encode(frame))
            if frame.kind == Kind.HELLO | ANSWER:
                Hello.unpack(frame.payload[1:]).config()
            elif frame.kind == Kind.STATUS | ANSWER:
                Status.unpack(frame.payload[1:])
    reader.drop()
    if reader.noise + taken != len(data):
        raise Finding(f"{len(data)} bytes came, {reader.noise} are noise and {taken} frames")


class _HostileLine:
    """Answers each request with the next payload, in a frame that is well formed."""

    def __init__(self, data: bytes) -> None:
        self._data, self._answers = data, [b""]

    def write(self, data: bytes) -> None:
        kind, sequence = data[1], data[2]
        length = self._data[0] if self._data else 0
        payload, self._data = self._data[1 : 1 + length], self._data[1 + length :]
        self._answers = [_frame(kind | ANSWER, sequence, payload)]

    def read(self, timeout_s: float) -> bytes:
        return self._answers.pop() if self._answers else b""


def _frame(kind: int, sequence: int, payload: bytes) -> bytes:
    return encode(Frame(kind, sequence, payload))


def _session(data: bytes, _: Path) -> None:
    session = Session(_HostileLine(data), timeout_s=0)
    config = session.config
    q = np.ones((2, min(3, config.rows)), np.int8)
    session.gemm(q, np.ones((2, q.shape[1]), np.int8))


class _HostileRegisters:
    """Registers that read whatever comes next."""

    def __init__(self, data: bytes, right: dict[int, int]) -> None:
        self._words, self._right = [data[i : i + 4] for i in range(0, len(data), 4)], right

    def read(self, offset: int) -> int:
        if offset in self._right:
            return self._right[offset]
        return int.from_bytes(self._words.pop(0), "little") if self._words else 2

    def write(self, offset: int, value: int) -> None:
        if not (isinstance(offset, int) and 0 <= offset < 1 << 16 and not offset % 4 and 0 <= value < 1 << 32):
            raise Finding(f"write of {value!r} to {offset!r}")


class _Channel:
    def transfer(self, array: np.ndarray) -> None:
        pass

    def wait(self) -> None:
        pass


def _axi(data: bytes, folder: Path) -> None:
    """``config.json`` up to the first zero byte, then the register words that a core of it reads as."""
    document, _, words = data.partition(b"\0")
    path = _written(folder, "config.json", document)
    try:
        fields = json.loads(document)
        geometry = fields["array"]["rows"] | fields["array"]["cols"] << 16
        right = {0: 0x54460002, 4: int(fields["array_sha256"][:8], 16), 8: geometry}
    except (ValueError, KeyError, TypeError, RecursionError):
        right = {}
    channel = _Channel()
    registers = _HostileRegisters(words, right)
    core = Accelerator(path, registers, channel, channel, channel, np.zeros, timeout_s=0)
    if core.config.lanes <= 64:
        core.gemm(np.ones((2, 3), np.int8), np.ones((2, 3), np.int8))


_CORES = tuple(
    ArrayConfig(name="fuzz", rows=4, cols=3, weight_bus_bits=64, accumulator_bits=20, **more)
    for more in ({}, {"planes": 2}, {"results": "int8"}, {"results": "int8", "sum_of_x": True, "planes": 2})
)


def _descriptor(data: bytes, _: Path) -> None:
    """A job's sizes and formats: refused, or a descriptor whose fields are those of the job."""
    if len(data) < 16:
        return
    config = _CORES[data[0] % len(_CORES)]
    m, n, k = (1 + size % 9 if size < 250 else 0 for size in data[1:4])
    planes = 1 + data[4] % 3
    multiplier, offset = (int.from_bytes(data[i : i + 4], "little", signed=True) >> data[15] % 32 for i in (5, 9))
    formats = GemmFormat(1 + data[14] % 3, bool(data[13] & 1), multiplier, offset, data[13] >> 1)
    job = CoreJob(np.ones((m, k), np.int8), np.ones((planes, n, k), np.int8), formats)
    job.check(config)
    word = descriptor_bits(job, config)
    expected = [(m, 24), (n, 24), (k, 24)]
    expected += [(formats.planes - 1, 1)] if config.planes == 2 else []
    if config.results == "int8":
        expected += [(formats.row_scales, 1), (formats.shift, 6), (multiplier & 0xFFFF, 16)]
        expected += [(offset & 0xFFFF, 16)] if config.sum_of_x else []
    for value, bits in expected:
        if word & (1 << bits) - 1 != value:
            raise Finding(f"{job.formats} of {m} x {n} x {k} became {descriptor_bits(job, config):#x}")
        word >>= bits
    if word:
        raise Finding(f"{job.formats}: bits beyond the descriptor")


def _trits(data: bytes, _: Path) -> None:
    for packing in ("5in8", "2bit"):
        codes = np.frombuffer(data, np.uint8)
        trits = unpack(codes, {"5in8": 5, "2bit": 4}[packing] * len(codes), packing)
        if trits.size and not -1 <= trits.min() <= trits.max() <= 1:
            raise Finding("a code that is no trit came through")


TARGETS: dict[str, Target] = {
    "gguf": Target("GGUF header, dimensions and ternary tensors", "bytes", _gguf),
    "llama2c": Target("llama2.c checkpoint", "bytes", _llama2c),
    "llama2c_vocabulary": Target("llama2.c vocabulary", "bytes", _vocabulary),
    "hf_config": Target(
        "Hugging Face config.json", "json", lambda data, folder: _directory(data, folder, "config.json")
    ),
    "safetensors": Target(
        "safetensors header", "safetensors", lambda data, folder: _directory(data, folder, "model.safetensors")
    ),
    "safetensors_index": Target(
        "safetensors index", "json", lambda data, folder: _directory(data, folder, "model.safetensors.index.json")
    ),
    "checkpoint": Target("packed checkpoint (ternary.safetensors)", "safetensors", _checkpoint),
    "trits": Target("packed trits", "bytes", _trits),
    "manifest": Target("manifest.json", "json", _manifest),
    "recording": Target("recording.json", "json", _recording),
    "recording_tensors": Target("recording.safetensors", "safetensors", _recording_tensors),
    "trace": Target("trace.json", "json", _trace),
    "result": Target("sim.json", "json", _result),
    "array": Target("array YAML", "yaml", _array),
    "memory": Target("memory YAML", "yaml", _memory),
    "model": Target("model YAML", "yaml", _model),
    "study": Target("study YAML", "yaml", _study),
    "job": Target("job YAML", "yaml", _job),
    "frames": Target("serial frames", "bytes", _frames),
    "session": Target("a serial device's answers", "bytes", _session),
    "axi": Target("AXI config.json and a core's registers", "json", _axi),
    "descriptor": Target("AXI descriptors", "bytes", _descriptor),
}
