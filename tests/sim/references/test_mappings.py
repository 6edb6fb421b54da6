"""Mappings of one linear: each is the closed form that its own test holds, and the best one is named."""

from hw.config import load_array
from quant.shapes import Gemm, load_shape
from sim.gemm.closed_form import closed_form
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.memory import load_memory
from sim.references.mappings import MAPPINGS, linear_mappings

EDGE = load_array("edge-32x32")


def test_decode_and_prefill_of_llama2_7b():
    """SCALE-Sim's cycles of 1 x 4096 x 4096 are its own; ours are 8 beats for each of 16 384 tiles and the rim."""
    decode = {mapping.kind: mapping for mapping in linear_mappings(load_shape("llama2-7b"), EDGE, 1)}
    assert set(decode) == {"q_proj, k_proj, v_proj, o_proj", "gate_proj, up_proj", "down_proj"}
    q_proj = decode["q_proj, k_proj, v_proj, o_proj"]
    assert list(q_proj.cycles) == list(MAPPINGS)
    assert q_proj.cycles["systolic, weights stationary"] == 1_556_479
    assert q_proj.cycles["systolic, outputs stationary"] == 532_223
    grid = EDGE.reorganised("systolic")
    assert q_proj.cycles["grid, double-buffered"] == closed_form(Gemm(1, 4096, 4096), grid).cycles
    assert q_proj.best == "tree, double-buffered"
    assert q_proj.utilization("tree, double-buffered", EDGE.lanes) < 1 / 8  # eight beats for one vector
    prefill = linear_mappings(load_shape("llama2-7b"), EDGE, 512)
    assert all(mapping.utilization("tree, double-buffered", EDGE.lanes) > 0.999 for mapping in prefill)


def test_single_buffering_is_what_the_stepping_gives():
    (mapping, *_) = linear_mappings(load_shape("stories260K"), EDGE, 300)
    fast = load_memory("hbm3-6400").model_copy(update={"channels": 10**9, "latency_s": 0.0})
    job = GemmJob(Gemm(*mapping.gemm), double_buffer=False, inputs_on_chip=True, outputs_on_chip=True)
    cost = gemm_cost(job, EDGE, fast)
    waits = cost.causes["dram_stall"]
    assert cost.cycles - 1 - waits == mapping.cycles["tree, single-buffered"]
