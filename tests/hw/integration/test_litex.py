"""The LiteX module in its example SoC, from a copied folder: memory to memory by its DMA engines, any beat widths."""

import json
import shutil
from pathlib import Path

import pytest

from hw.config import ArrayConfig
from hw.integration.kits import write_kit
from tests.hw.integration.copied import run

ARRAYS = [
    ArrayConfig(name="8x4", rows=8, cols=4, weight_bus_bits=16, token_tile=4),  # beats of 2, 8 and 16 bytes
    ArrayConfig(  # of 3, 5 and 3 bytes: no multiple of the bus, and packets that end inside its words
        name="odd", rows=5, cols=3, weight_bus_bits=24, token_tile=3, planes=2, results="int8", sum_of_x=True,
    ),
]  # fmt: skip
LONG = ArrayConfig(name="long", rows=128, cols=1, weight_bus_bits=64, token_tile=1, planes=5)  # 19,200 bytes go in


@pytest.mark.parametrize("config", ARRAYS, ids=lambda config: config.name)
def test_the_example_soc_computes_from_memory_to_memory(config, tmp_path):
    pytest.importorskip("litex")
    write_kit(config, "litex", tmp_path / "written")
    copied = Path(shutil.copytree(tmp_path / "written", tmp_path / "elsewhere"))
    done = run(copied)
    assert done.returncode == 0, done.stdout[-3000:]
    module = copied / "tritforge_litex.py"
    text = module.read_text()
    assert text.count("sent == self.beats - 1") == 1
    module.write_text(text.replace("sent == self.beats - 1", "sent == self.beats"))  # TLAST a beat too late
    assert run(copied).returncode == 1


def test_modules_of_memories_come_with_the_module(tmp_path):
    pytest.importorskip("litex")
    write_kit(ARRAYS[0], "litex", tmp_path, memories="macros")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
    (tmp_path / "tritforge_memories.v").unlink()
    assert run(tmp_path).returncode == 1


@pytest.mark.slow
def test_packets_longer_than_16_kib_do_not_reach_into_the_next_buffer(tmp_path):
    pytest.importorskip("litex")
    write_kit(LONG, "litex", tmp_path)
    sizes = [len(gemm["activations"]) // 2 for gemm in json.loads((tmp_path / "gemms.json").read_text())]
    assert max(sizes) > 1 << 14
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:]
