"""What runs where: ops move to the unit that was asked for, with their work, and impossible places are refused."""

import json
import math

import pytest

from energy.costs.sources import load_source
from energy.model import energy_of
from hw.config import sized
from hw.errors import InputError
from quant.shapes import load_shape
from sim.__main__ import main
from sim.execution import Execution
from sim.host import Host
from sim.memory import load_memory
from sim.simulator import simulate

LPDDR5 = load_memory("lpddr5-6400")
SHAPE = load_shape("stories260K")
HOST = Host(source="test", macs_per_s=2e9, operations_per_s=1e9, link_bytes_per_s=4e9, latency_s=3e-6)


def run(mac="ternary", **choices):
    execution = Execution(host=HOST, **choices)
    return simulate(SHAPE, sized(8, 8).baseline(mac), LPDDR5, 9, 3, execution=execution)


def op_of(result, phase, name):
    return next(op for op in result.phase(phase).ops if op.name == name)


def test_lm_head_on_the_host_takes_its_own_time_by_hand():
    """512 x 64 products at 2 per ns, 64 bytes in and 1024 out at 4 bytes per ns: the products take longer."""
    there = op_of(run(placement={"lm_head": "host"}), "decode", "lm_head")
    n, k = SHAPE.vocab_size, SHAPE.hidden_size
    assert there.unit == "host"
    assert there.cycles == there.causes["host"] == 3 * (3000 + math.ceil(n * k / 2))
    assert there.counts.host_macs == there.macs == 3 * n * k
    assert there.counts.host_link_bits == 3 * (k * 8 + n * 16)
    assert there.counts.vector_macs == there.counts.array_macs == 0


@pytest.mark.parametrize(
    "name", ["attention_scores", "softmax", "attention_values", "rope", "gate", "q_proj", "lm_head"]
)
@pytest.mark.parametrize("place", ["vector", "host"])
def test_an_op_keeps_its_work_wherever_it_runs(name, place):
    here, there = run(), run(placement={name: place})
    for phase in ("prefill", "decode"):
        before, after = op_of(here, phase, name), op_of(there, phase, name)
        assert (after.unit, after.macs) == (place, before.macs)
        assert sum(after.causes.values()) == after.cycles > 0
        assert after.counts.host_ops == (before.counts.vector_ops if place == "host" and not before.macs else 0)
        assert after.counts.array_macs == 0
    others = [op for op in there.phase("decode").ops if op.name != name]
    assert others == [op for op in here.phase("decode").ops if op.name != name]


def test_a_dense_array_takes_attention_back_from_the_vector_unit():
    back = run("int8", dense_products="vector", placement={"attention_scores": "array"})
    assert op_of(back, "decode", "attention_scores") == op_of(run("int8"), "decode", "attention_scores")
    assert op_of(back, "decode", "attention_values").unit == "vector"


def test_the_host_is_paid_for():
    costs = load_source("horowitz-45nm")
    here, there = (
        energy_of(result, costs).phase("decode").parts["host"] for result in (run(), run(placement={"lm_head": "host"}))
    )
    macs, bits = 3 * SHAPE.vocab_size * SHAPE.hidden_size, 3 * (SHAPE.hidden_size * 8 + SHAPE.vocab_size * 16)
    assert here.typical == 0
    assert there.typical == pytest.approx((macs * 8.8 + bits * 5) * 1e-12, rel=1e-9)


@pytest.mark.parametrize(
    ("placement", "message"),
    [
        ({"lm_head": "array"}, "lm_head must run on vector or host with array '8x8/ternary' .ternary., not on array"),
        ({"softmax": "array"}, "softmax must run on vector or host"),
        ({"embedding": "host"}, "embedding is moved by DRAM and runs nowhere else"),
        ({"kv_cache_write": "vector"}, "kv_cache_write is moved by DRAM"),
        ({"lm_heat": "host"}, "op must be one of embedding, .*lm_head, not 'lm_heat'"),
    ],
)
def test_impossible_places_are_refused_with_the_possible_ones(placement, message):
    with pytest.raises(InputError, match=message):
        run(placement=placement)


def test_prefetch_across_ops_is_never_slower_and_moves_the_same():
    """A norm and a quantization leave DRAM idle before q_proj: its first tiles are there when it starts."""
    plain, ahead = run(), run(prefetch_across_ops=True)
    for before, after in zip(plain.phases, ahead.phases, strict=True):
        assert after.cycles < before.cycles
        assert after.counts == before.counts
        waits = {op.name: op.causes["dram_stall"] for op in before.ops}
        assert all(op.causes["dram_stall"] <= waits[op.name] for op in after.ops)
    assert op_of(ahead, "decode", "k_proj") == op_of(plain, "decode", "k_proj")  # right after a GEMM: nothing is ahead


def test_the_command_line_places_ops_and_reads_a_host(tmp_path, capsys):
    path = tmp_path / "host.yaml"
    path.write_text("source: test\nmacs_per_s: 2.0e+9\nlatency_s: 0\n", encoding="utf-8")
    arguments = ["run", "--model", "stories260K", "--prefill", "9", "--decode", "2"]
    main([*arguments, "--placement", "lm_head=host", "--placement", "rope=host", "--host", str(path), "--json"])
    phases = json.loads(capsys.readouterr().out)["phases"]
    assert {op["name"] for op in phases[1]["ops"] if op["unit"] == "host"} == {"lm_head", "rope"}
    with pytest.raises(InputError, match="placement must be NAME=VALUE"):
        main([*arguments, "--placement", "lm_head"])
    with pytest.raises(InputError, match="placement must have 'lm_head' once, not twice; keep one of them"):
        main([*arguments, "--placement", "lm_head=host", "--placement", "lm_head=vector"])
    with pytest.raises(InputError, match=r"placement\.lm_head"):
        main([*arguments, "--placement", "lm_head=moon"])
