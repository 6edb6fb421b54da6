"""``python -m tests.fuzz.make_corpus``: writes the files that fuzzing starts from, small and one of each form."""

import json
import shutil
import struct
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.numpy import save

from hw.config import sized
from hw.host.protocol import ANSWER, CAUSES, Frame, Hello, Kind, encode
from hw.verilog import write_config
from quant.manifest import LinearEntry, Manifest, write_manifest
from quant.native.gguf_types import encode_tq
from quant.recording import LinearRecord, OperandStatistics, Recording, write_recording
from quant.shapes import load_shape
from quant.weights.checkpoint import write_checkpoint
from quant.weights.solution import LinearSolution
from sim.memory import load_memory
from sim.result import write_result
from sim.simulator import simulate_trace
from sim.trace.build import build_trace
from sim.trace.file import write_trace
from tests.fuzz.targets import CORPUS

ROOT = Path(__file__).parents[2]
HASH = "0" * 64
HIDDEN = 256  # GGUF's ternary types come in blocks of 256
LINEARS = {"attn_q": 8, "attn_k": 4, "attn_v": 4}  # rows; the others would be 17 KB each


def main() -> None:
    """Write every folder anew."""
    shutil.rmtree(CORPUS, ignore_errors=True)
    for name, files in {**_models(), **_documents(), **_artifacts(), **_device()}.items():
        (CORPUS / name).mkdir(parents=True)
        for number, data in enumerate(files):
            (CORPUS / name / f"{number}").write_bytes(data)


def _models() -> dict[str, list[bytes]]:
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": 8,
        "intermediate_size": 12,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 64,
        "vocab_size": 16,
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
    }
    bitnet = config | {"quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear"}}
    mistral = config | {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": 16}
    tensors = {"model.embed_tokens.weight": (16, 8), "model.norm.weight": (8,)}
    sizes = {"q": (8, 8), "k": (4, 8), "v": (4, 8), "o": (8, 8), "gate": (12, 8), "up": (12, 8), "down": (8, 12)}
    for name, size in sizes.items():
        part = "self_attn" if name in "qkvo" else "mlp"
        tensors[f"model.layers.0.{part}.{name}_proj.weight"] = size
    for norm in ("input_layernorm", "post_attention_layernorm"):
        tensors[f"model.layers.0.{norm}.weight"] = (8,)
    weights = save({name: np.zeros(size, np.float16) for name, size in tensors.items()}, {"format": "pt"})
    index = {"metadata": {"total_size": 1}, "weight_map": dict.fromkeys(tensors, "model.safetensors")}
    return {
        "gguf": [_gguf(None), _gguf("tq2_0"), _gguf("tq1_0")],
        "llama2c": [_llama2c(8), _llama2c(-8)],
        "llama2c_vocabulary": [_vocabulary()],
        "hf_config": [json.dumps(value).encode() for value in (config, bitnet, mistral)],
        "safetensors": [weights, save({name: np.ones(size, np.float32) for name, size in tensors.items()})],
        "safetensors_index": [json.dumps(index).encode()],
    }


def _gguf(ternary: str | None) -> bytes:
    path = CORPUS.parent / "corpus.gguf"
    writer = gguf.GGUFWriter(path, "llama" if ternary is None else "bitnet-b1.58")
    writer.add_block_count(1)
    width = HIDDEN if ternary else 8
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(width)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_key_length(4)
    writer.add_context_length(64)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_token_list(["a", "b"])
    writer.add_token_types([1, 1])
    writer.add_tensor("token_embd.weight", np.zeros((2, width), np.float16))
    writer.add_tensor("blk.0.attn_norm.weight", np.zeros(width, np.float32))
    if ternary:
        kind = gguf.GGMLQuantizationType[ternary.upper()]
        for name, rows in LINEARS.items():
            data = encode_tq(np.ones((rows, HIDDEN), np.int8), np.ones((rows, 1), np.float16), kind)
            writer.add_tensor(f"blk.0.{name}.weight", data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    data = path.read_bytes()
    path.unlink()
    return data


def _llama2c(vocabulary: int) -> bytes:
    """dim 8, hidden 12, one layer, two heads, one key-value head, 4 positions."""
    weights = 8 * 8 + 8 + 8 * 8 * 2 + 4 * 8 * 2 + 8 + 3 * 8 * 12 + 8 + 4 * 4 + (8 * 8 if vocabulary < 0 else 0)
    return struct.pack("<7i", 8, 12, 1, 2, 1, vocabulary, 4) + bytes(4 * weights)


def _vocabulary() -> bytes:
    pieces = [
        b"<unk>",
        b"<s>",
        b"</s>",
        *(b"<0x%02X>" % byte for byte in range(256)),
        b" ",
        b" a",
        b"ti",
        b"me",
        b"time",
    ]
    pieces += [b"x%d" % i for i in range(300 - len(pieces))]
    entries = (struct.pack("<fi", -float(i), len(piece)) + piece for i, piece in enumerate(pieces))
    return struct.pack("<i", 8) + b"".join(entries)


def _documents() -> dict[str, list[bytes]]:
    def text(*names: str) -> list[bytes]:
        return [(ROOT / name).read_bytes() for name in names]

    job = b"schema: tritforge.job.1\nmodel: llama2-7b\nmethod: gptq\noptions: {group: 64}\nseed: 3\nprefill: 8\n"
    merged = b"<<: &a {name: x, rows: 8, cols: 4}\nresults: int8\nsum_of_x: true\nmac: ternary\nclock_hz: 1e9\n"
    return {
        "array": [*text("hw/arrays/edge-32x32.yaml"), merged],
        "memory": text("sim/memories/ddr4-2400.yaml", "sim/memories/hbm3-6400.yaml"),
        "model": text("quant/models/llama2-7b.yaml", "quant/models/stories260K.yaml"),
        "study": [path.read_bytes() for path in sorted((ROOT / "energy/studies").glob("*.yaml"))],
        "job": [job],
    }


def _artifacts() -> dict[str, list[bytes]]:
    work = CORPUS.parent / "corpus-work"
    work.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    trits = torch.from_numpy(rng.integers(-1, 2, (1, 4, 10)).astype(np.int8))
    row, grouped = torch.ones((1, 4, 1), dtype=torch.float16), torch.ones((1, 4, 2), dtype=torch.float16)
    solutions = {
        (0, "q_proj"): LinearSolution(trits, row, None, "row"),
        (0, "down_proj"): LinearSolution(trits, grouped, 5, "group"),
    }
    write_checkpoint(work / "ternary.safetensors", solutions, {"norm": np.ones(4, np.float32)})
    shape = load_shape("stories260K")
    entries = [
        LinearEntry(
            layer=0, kind=kind, n=4, k=10, group=None, scale_kind="row", zero_fraction=0.25, code_bits=64, scale_bits=64
        )
        for kind in ("q_proj", "down_proj")
    ]
    manifest = Manifest(
        model="tiny",
        shape=shape,
        method="rtn",
        options={"group": 64},
        packing="5in8",
        linears=entries,
        weights_sha256=HASH,
        source_sha256=HASH,
        calibration="words",
        perplexity={"fp": 2.0},
    )
    write_manifest(work / "manifest.json", manifest)
    toggles = OperandStatistics(toggle_rate=0.25, input_toggle_rate=0.5)
    record = LinearRecord(
        layer=0,
        kind="q_proj",
        input="layers.0.attention_in",
        n=4,
        k=10,
        planes=1,
        group=10,
        sums_sha256=HASH,
        zero_fraction=0.25,
        prefill=toggles,
        decode=toggles,
    )
    inputs = {record.input: (np.ones((3, 10), np.int8), np.ones(3, np.float32))}
    write_recording(work, Recording("tiny", "rtn", "words", HASH, [record], inputs))
    array = sized(8, 8)
    trace = build_trace(shape, 4, 2)
    write_trace(work / "trace.json", trace, array)
    write_result(work / "sim.json", simulate_trace(trace, array, load_memory("ddr4-2400")), {})
    names = {
        "checkpoint": "ternary.safetensors",
        "manifest": "manifest.json",
        "recording": "recording.json",
        "recording_tensors": "recording.safetensors",
        "trace": "trace.json",
        "result": "sim.json",
    }
    found = {name: [(work / file).read_bytes()] for name, file in names.items()}
    found |= {name: [_short(found[name][0])] for name in ("trace", "result")}
    write_config(work / "config.json", array, {"tritforge_axi.v": HASH}, registers={"identity": 0})
    document = json.loads((work / "config.json").read_text())
    places = ("identity", "config_hash", "geometry", "control", "status", "m", "n", "k")
    counters = [f"{name}_{half}" for name in ("cycles", *CAUSES) for half in ("low", "high")]
    document["registers"] = {name: 4 * place for place, name in enumerate((*places, *counters, "format", "scales"))}
    words = struct.pack("<16H", *range(2, 34, 2))  # no fault bit of a status among them
    found["axi"] = [json.dumps(document).encode() + b"\0" + words]
    found["trits"] = [bytes(byte for byte in range(243) if all(byte >> shift & 3 != 2 for shift in (0, 2, 4, 6)))]
    shutil.rmtree(work)
    return found


def _short(data: bytes) -> bytes:
    """The first ops of each phase."""
    document = json.loads(data)
    for phase in document["phases"]:
        phase["ops"] = phase["ops"][:3]
    return json.dumps(document).encode()


def _device() -> dict[str, list[bytes]]:
    config = sized(4, 3)
    hello = b"\0" + Hello.of(config, 5e7, 16, 16, 16).pack()
    status = b"\0" + struct.pack("<BHHH", 0, 1, 2, 3) + bytes(30)
    sums = b"\0" + bytes(18)
    frames = [
        encode(Frame(Kind.HELLO | ANSWER, 1, hello)) + b"noise" + encode(Frame(Kind.STATUS | ANSWER, 2, status)),
        encode(Frame(Kind.RESULTS | ANSWER, 3, sums)),
    ]
    answers = (hello, b"\0", b"\0", b"\0", b"\0", sums, status)
    return {
        "frames": frames,
        "session": [b"".join(bytes([len(answer)]) + answer for answer in answers)],
        "descriptor": [bytes([2, 3, 4, 5, 0, 1, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]), bytes(range(3, 19))],
    }


if __name__ == "__main__":
    main()
