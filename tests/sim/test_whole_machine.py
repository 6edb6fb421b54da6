"""Every count and cause of every op of whole runs, and of GEMMs under every mapping, equals the naive machine."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest

from hw.config import ArrayConfig
from quant.manifest import LinearEntry, Manifest
from quant.shapes import LINEAR_KINDS, Gemm, ModelShape
from sim.attention import choose_digits
from sim.cores import CoreGroup
from sim.counts import ActionCounts
from sim.execution import Execution
from sim.gemm.cost import gemm_cost
from sim.gemm.schedule import GemmJob
from sim.host import Host
from sim.memory import MemoryConfig
from sim.result import CAUSES
from sim.simulator import array_formats, simulate
from tests.naive_gemm import naive_gemm
from tests.naive_machine import NaiveMachine

SHAPE = ModelShape(
    name="tiny", source="made up", hidden_size=12, intermediate_size=18, layers=2, heads=4, kv_heads=2, head_dim=3,
    vocab_size=21, max_positions=64,
)  # fmt: skip
MEMORY = MemoryConfig(
    name="m", source="test", standard="DDR4", channels=2, peak_bytes_per_s=2e9, sequential_efficiency=0.5,
    efficiency_source="test", write_cost=1.5, latency_s=6.5e-9,
)  # fmt: skip
HOST = Host(source="test", macs_per_s=2e9, operations_per_s=1e9, link_bytes_per_s=4e9, latency_s=3e-6)
LARGE = {"weight_buffer_bytes": 1 << 16, "activation_buffer_bytes": 1 << 16}


def machine(rows=4, cols=4, mac="ternary", **fields):
    """A small array; ``mac`` as its baseline where it is not ternary."""
    base = {"name": "a", "rows": rows, "cols": cols, "weight_bus_bits": 16, "token_tile": 4, "vector_lanes": 3}
    return ArrayConfig(**base | LARGE | fields).baseline(mac)


def grid(rows=4, cols=3, mac="ternary", **fields):
    """A systolic one."""
    return machine(rows, cols, mac, organisation="systolic", token_tile=rows, **fields)


def digit_machine(rows=4, cols=4, **fields):
    """One that multiplies K and V in digits."""
    return machine(rows, cols, **{"planes": 5, "digits": True, "lane_loading": True} | fields)


@dataclass
class Run:
    """A run, and what the naive machine is told of it."""

    array: ArrayConfig
    shape: ModelShape = SHAPE
    prefill: int = 6
    decode: int = 2
    batch: int = 2
    memory: MemoryConfig = MEMORY
    kv_bits: int = 16
    digits: tuple | None = None  # of K, of V, q and k rotated
    head_digits: int | None = None
    execution: Execution = field(default_factory=Execution)
    cores: CoreGroup = field(default_factory=CoreGroup)
    entries: dict = field(default_factory=dict)
    gemm: dict = field(default_factory=dict)  # keywords of ``naive_gemm``

    def result(self):
        manifest = None
        if self.entries:
            linears = [
                entry.model_copy(update={"layer": layer, "kind": kind})
                for layer in range(self.shape.layers)
                for kind, entry in self.entries.items()
            ]
            manifest = Manifest(
                model="tiny", shape=self.shape, method="made up", options={}, packing="2bit", linears=linears,
                weights_sha256="0", source_sha256="0", calibration="none",
            )  # fmt: skip
        digits = choose_digits(self.array, self.shape.head_dim, self.execution, *(self.digits or ()))
        assert bool(digits) == bool(self.digits)
        return simulate(
            self.shape, self.array, self.memory, self.prefill, self.decode, self.batch, manifest=manifest,
            formats=array_formats(self.array).model_copy(
                update={"kv_bits": self.kv_bits, "digits": digits, "head_digits": self.head_digits}
            ),
            execution=self.execution.model_copy(update={"host": HOST}), cores=self.cores,
        )  # fmt: skip

    def expected(self):
        """Phase -> op -> counts, step after step."""
        naive = NaiveMachine(
            self.shape, self.array, self.memory, kv_bits=self.kv_bits, digits=self.digits,
            head_digits=self.head_digits, on_chip=self.execution.on_chip, units=self.execution.placement,
            entries=self.entries, host=HOST, **self.gemm,
        )  # fmt: skip
        chunk = self.execution.prefill_chunk or self.prefill
        ahead = self.execution.prefetch_across_ops
        phases = {"prefill": {}, "decode": {}, "mixed": {}}
        for past in range(0, self.prefill, chunk):
            queries = min(chunk, self.prefill - past)
            ops = naive.step("prefill", queries, past, self.batch, prefetch=ahead)
            if past + queries < self.prefill:
                del ops["final_norm"], ops["lm_head"]
            _add(phases["prefill"], ops)
        for step in range(self.decode):
            _add(phases["decode"], naive.step("decode", 1, self.prefill + step, self.batch, prefetch=ahead))
        if riding := self.execution.mixed_chunk:  # statistics of prefill: weights rest while tokens pass
            phases["mixed"] = naive.step("prefill", 1, self.prefill, self.batch, riding)
        return phases


def _add(total, ops):
    for name, counts in ops.items():
        total.setdefault(name, Counter()).update(counts)


def _summed(one, other):
    causes = {cause: one.causes[cause] + other.causes[cause] for cause in CAUSES}
    sums = {name: getattr(one, name) + getattr(other, name) for name in ("macs", "cycles", "counts")}
    return one.model_copy(update=sums | {"causes": causes})


def entry(kind, **fields):
    n, k = SHAPE.linear(kind)
    values = {"layer": 0, "kind": kind, "n": n, "k": k, "group": 5, "scale_kind": "group", "zero_fraction": 0.4}
    return LinearEntry(**values | {"code_bits": 2 * n * k, "scale_bits": 16 * n * -(-k // 5)} | fields)


def every(**fields):
    return {kind: entry(kind, **fields) for kind in LINEAR_KINDS}


SMALL = {"weight_buffer_bytes": 24, "activation_buffer_bytes": 96}
SLOW = MEMORY.model_copy(update={"peak_bytes_per_s": 0.25e9, "write_cost": 2.0})
FLAT = Execution(mapping="tokens", descriptor_tokens=64)
RUNS = {
    **{f"{mac}": Run(machine(mac=mac)) for mac in ("ternary", "int8", "fp16", "w4a8", "w2a8", "w4a16")},
    **{f"grid {mac}": Run(grid(mac=mac)) for mac in ("ternary", "int8", "w4a8")},
    "odd tiles": Run(machine(3, 3)),
    "odd tiles with exponents": Run(
        machine(3, 3, group_exponent_bits=3), entries=every(scale_kind="pow2", group=4, scale_bits=48)
    ),
    "odd tiles of narrow K and V": Run(machine(3, 3, "int8"), kv_bits=4),
    "spilled": Run(machine(**SMALL), memory=SLOW, execution=FLAT),
    "spilled int8": Run(machine(mac="int8", **SMALL | {"weight_buffer_bytes": 40}), memory=SLOW, execution=FLAT),
    "spilled fp16": Run(machine(mac="fp16", **SMALL | {"weight_buffer_bytes": 90}), memory=SLOW, execution=FLAT),
    "spilled grid": Run(grid(**SMALL), memory=SLOW, execution=FLAT),
    "columns": Run(
        machine(weight_buffer_bytes=64, activation_buffer_bytes=128), memory=SLOW,
        execution=Execution(mapping="columns", descriptor_tokens=64), gemm={"order": "columns"},
    ),
    "descriptors": Run(
        machine(**SMALL), memory=SLOW, execution=Execution(mapping="tokens", descriptor_tokens=3, prefetch_tiles=2),
        gemm={"descriptor": 3, "prefetch": 2},
    ),
    "narrow cache": Run(machine(), kv_bits=4),
    "narrow cache w4a8": Run(machine(mac="w4a8"), kv_bits=8, prefill=7),
    "window": Run(machine(), SHAPE.model_copy(update={"sliding_window": 3}), prefill=10),
    "window int8": Run(machine(mac="int8"), SHAPE.model_copy(update={"sliding_window": 3}), prefill=10),
    "biases": Run(machine(), SHAPE.model_copy(update={"qkv_bias": True, "activation": "gelu"})),
    "sub norms": Run(machine(), SHAPE.model_copy(update={"sub_norms": True, "activation": "relu2", "kv_heads": 4})),
    "soft caps": Run(machine(), SHAPE.model_copy(update={"attention_softcap": True})),
    "soft caps on the host": Run(
        machine(),
        SHAPE.model_copy(update={"attention_softcap": True}),
        execution=Execution(placement={"softmax": "host"}),
    ),
    "chunks": Run(machine(), prefill=7, execution=Execution(prefill_chunk=3)),
    "chunks int8": Run(machine(mac="int8"), prefill=7, execution=Execution(prefill_chunk=3)),
    "mixed": Run(machine(), prefill=7, execution=Execution(mixed_chunk=5)),
    "mixed int8": Run(machine(mac="int8"), prefill=7, batch=3, execution=Execution(mixed_chunk=2)),
    "prefetch across ops": Run(
        machine(**SMALL), memory=SLOW, decode=1,
        execution=Execution(mapping="tokens", descriptor_tokens=64, prefetch_across_ops=True),
    ),
    "prefetch across ops fp16": Run(machine(mac="fp16"), decode=1, execution=Execution(prefetch_across_ops=True)),
    "on chip": Run(machine(), execution=Execution(on_chip=True)),
    "on chip fp16": Run(machine(mac="fp16"), execution=Execution(on_chip=True)),
    "single buffer": Run(machine(), execution=Execution(double_buffer=False), gemm={"double_buffer": False}),
    "vector": Run(
        machine(mac="int8"), execution=Execution(placement=dict.fromkeys(
            ("q_proj", "lm_head", "attention_scores", "attention_values"), "vector",
        )),
    ),
    "host": Run(
        machine(), execution=Execution(placement=dict.fromkeys(
            ("down_proj", "lm_head", "attention_scores", "softmax", "attention_values", "rope", "gate"), "host",
        )),
    ),
    "host behind a slow memory": Run(
        machine(mac="fp16"), memory=SLOW.model_copy(update={"peak_bytes_per_s": 1e7}),
        execution=Execution(placement=dict.fromkeys(("q_proj", "lm_head", "attention_scores"), "host")),
    ),
    "groups": Run(machine(), entries=every()),
    "planes and offsets": Run(machine(planes=2), entries=every(planes=2, offset_bits=96)),
    "sum of x": Run(machine(sum_of_x=True), entries=every(offset_bits=96)),
    "exponents": Run(
        machine(group_exponent_bits=2), entries=every(scale_kind="pow2", group=8, scale_bits=48, planes=1),
    ),
    "requantized": Run(machine(results="int8"), entries=every(scale_kind="row", group=None, scale_bits=192)),
    "side weights": Run(
        machine(vector_lanes=64), entries=every(rank=2, low_rank_bits=960, outliers=5, mask_bits=144, offset_bits=99),
    ),
    "side weights behind a slow memory": Run(
        machine(), memory=SLOW, prefill=9,
        entries=every(rank=1, low_rank_bits=480, outliers=3, mask_bits=144, permutation_bits=60),
    ),
    "side weights elsewhere": Run(
        machine(), entries=every(rank=1, low_rank_bits=480, outliers=3, mask_bits=144, permutation_bits=60, planes=2),
        execution=Execution(placement={"q_proj": "host", "o_proj": "vector", "up_proj": "array"}),
    ),
    "a dense array and a manifest": Run(machine(mac="int8"), entries=every(planes=2, rank=1, low_rank_bits=480)),
    "digits": Run(digit_machine(), digits=(4, 3, False)),
    "digits, rotated in pairs": Run(
        digit_machine(), SHAPE.model_copy(update={"head_dim": 6}), digits=(4, 2, True), prefill=9, decode=3,
    ),
    "digits of heads of a power of two": Run(
        digit_machine(rows=8, cols=4), SHAPE.model_copy(update={"head_dim": 12}), digits=(5, 5, True), prefill=11,
    ),
    "digits, not rotated": Run(digit_machine(rows=5, cols=7), digits=(3, 4, False), prefill=9, decode=5),
    "digits of one query head": Run(
        digit_machine(), SHAPE.model_copy(update={"kv_heads": 4, "head_dim": 8}), digits=(3, 3, True), prefill=9,
        decode=7, batch=1,
    ),
    **{
        f"digits of heads that are no whole tiles of {rows} x {cols}": Run(
            digit_machine(rows=rows, cols=cols), SHAPE.model_copy(update={"head_dim": 12}), digits=(4, 3, True),
        )
        for rows, cols in ((8, 7), (7, 8))
    },
    "digits in small blocks": Run(
        digit_machine(rows=3, accumulator_bits=17, activation_buffer_bytes=96), digits=(4, 4, False), prefill=14,
        decode=9, execution=FLAT,
    ),
    "digits in blocks that their sums limit": Run(
        digit_machine(rows=2, planes=4, accumulator_bits=16), digits=(3, 4, False), prefill=13, decode=4,
    ),
    "digits behind a slow memory": Run(
        digit_machine(**SMALL), memory=SLOW, digits=(4, 3, False), prefill=9, decode=3, execution=FLAT,
    ),
    "digits, few vector lanes": Run(digit_machine(vector_lanes=1), digits=(3, 3, False), prefill=7),
    "digits, few lanes and a slow memory": Run(
        digit_machine(vector_lanes=1), memory=SLOW.model_copy(update={"peak_bytes_per_s": 1e8}), digits=(3, 3, False),
    ),
    "digits and a window": Run(
        digit_machine(), SHAPE.model_copy(update={"sliding_window": 5}), digits=(4, 3, False), prefill=13, decode=3,
    ),
    "lm_head in trits": Run(machine(**SMALL), head_digits=1, batch=3, execution=FLAT),
    "lm_head in trits, prefetched": Run(machine(), head_digits=1, execution=Execution(prefetch_across_ops=True)),
    "lm_head in three digits": Run(digit_machine(**SMALL), digits=(3, 3, False), head_digits=3, execution=FLAT),
    "lm_head in two digits on the chip": Run(
        digit_machine(), digits=(3, 3, False), head_digits=2, execution=Execution(on_chip=True), memory=SLOW,
    ),
    "three vector units": Run(machine(vector_units=3), prefill=7),
    "two vector units of two cores": Run(
        machine(vector_units=2), prefill=7, cores=CoreGroup(count=2, split="columns"),
        gemm={"cores": 2, "column_cores": 2},
    ),
    "an attention unit": Run(machine(vector_lanes=1, attention_lanes=5)),
    "an attention unit of an int8 array": Run(machine(mac="int8", vector_lanes=1, attention_lanes=5)),
    "a narrow vector bus": Run(machine(vector_bus_bits=3, vector_lanes=64)),
    "a narrow vector bus, corrections": Run(machine(vector_bus_bits=1), entries=every(rank=2, low_rank_bits=960)),
    "a vector bus of 3 bits, corrections": Run(
        machine(vector_bus_bits=3, vector_lanes=64), entries=every(rank=2, low_rank_bits=9600)
    ),
    "a narrow port of the weight buffer": Run(machine(weight_port_bits=8), decode=1),
    "a narrow port of the activation buffer": Run(machine(activation_port_bits=16), decode=1),
    "a narrow port of the accumulators": Run(machine(accumulator_port_bits=24), decode=1),
    "narrow ports of a grid": Run(grid(mac="int8", activation_port_bits=8, accumulator_port_bits=1), decode=1),
    "narrow ports and the host": Run(
        machine(activation_port_bits=1, weight_port_bits=1), decode=1, execution=Execution(placement={"gate": "host"}),
    ),
    "digits, an attention unit and ports": Run(
        digit_machine(vector_lanes=1, attention_lanes=3, activation_port_bits=64), digits=(3, 3, False), decode=1,
    ),
    "digits in chunks": Run(
        digit_machine(), digits=(4, 3, False), prefill=11, execution=Execution(prefill_chunk=5, attention="array"),
    ),
    "digits, mixed": Run(digit_machine(), digits=(4, 3, False), prefill=7, execution=Execution(mixed_chunk=5)),
    "digits on chip": Run(digit_machine(), digits=(4, 3, False), execution=Execution(on_chip=True)),
    "digits, soft caps and softmax on the host": Run(
        digit_machine(), SHAPE.model_copy(update={"attention_softcap": True}), digits=(4, 3, False),
        execution=Execution(placement={"softmax": "host"}),
    ),
    "digits, column cores": Run(
        digit_machine(), cores=CoreGroup(count=2, split="columns"), digits=(4, 3, False), prefill=9,
        gemm={"cores": 2, "column_cores": 2},
    ),
    "digits, exponents and sums of x": Run(
        digit_machine(group_exponent_bits=2, sum_of_x=True), digits=(4, 3, False), entries=every(offset_bits=96),
    ),
    "digits, five trits a byte": Run(digit_machine(packing="5in8"), digits=(5, 3, False), prefill=9),
    "digits, prefetch across ops": Run(
        digit_machine(**SMALL), memory=SLOW, decode=1, digits=(3, 3, False),
        execution=Execution(mapping="tokens", descriptor_tokens=64, prefetch_across_ops=True),
    ),
    "column cores": Run(
        machine(), cores=CoreGroup(count=2, split="columns"), gemm={"cores": 2, "column_cores": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_every_op_counts_what_the_naive_machine_counts(name):
    _check(RUNS[name])


def random_run(seed):
    """A small machine that multiplies K and V in digits, with buffers that spill and memories of all speeds."""
    rng = np.random.default_rng(seed)

    def one(*values):
        return values[rng.integers(len(values))]

    rows, cols, packing, head = one(1, 2, 3, 5, 8), one(1, 2, 3, 7), one("2bit", "5in8"), one(3, 4, 6, 9, 12)
    array = digit_machine(
        rows, cols, packing=packing, token_tile=one(1, 2, 4, 6), weight_bus_bits=one(8, 16, 64),
        accumulator_bits=one(20, 21, 24), vector_lanes=one(1, 3, 17), activation_buffer_bytes=one(48, 150, 1000),
        weight_buffer_bytes=one(40, 90, 4000), chain_lanes=one(1, rows),
    )  # fmt: skip
    heads = one((4, 1), (4, 2), (4, 4))
    shape = SHAPE.model_copy(
        update={"head_dim": head, "heads": heads[0], "kv_heads": heads[1], "sliding_window": one(None, None, 3, 6)}
    )
    rotate = bool(head % 2 == 0 and rng.integers(2))
    memory = MEMORY.model_copy(
        update={"peak_bytes_per_s": one(0.1, 0.5, 2, 50) * 1e9, "latency_s": one(0.0, 6.5e-9, 40e-9)}
    )
    return Run(
        array, shape, prefill=one(1, 4, 9, 14), decode=one(1, 2, 7), batch=one(1, 2), memory=memory, execution=FLAT,
        digits=(one(2, 3, 4, 5), one(2, 3, 4, 5), rotate),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(60))
def test_every_op_of_random_machines_with_digits_counts_what_the_naive_one_counts(seed):
    _check(random_run(seed))


def _check(run):
    result, expected = run.result(), run.expected()
    for phase in result.phases:
        steps = {"prefill": -(-run.prefill // (run.execution.prefill_chunk or run.prefill)), "decode": run.decode}
        assert phase.steps == steps.get(phase.name, 1)
        tokens = {"prefill": run.batch * run.prefill, "decode": run.batch * run.decode}
        assert phase.tokens == tokens.get(phase.name, run.batch + (run.execution.mixed_chunk or 0))
        ops = {}
        for op in phase.ops:  # a mixed step has the attention of both
            ops[op.name] = _summed(ops[op.name], op) if op.name in ops else op
        assert list(ops) == list(expected[phase.name])
        for op in ops.values():
            naive = expected[phase.name][op.name]
            head = ("final_norm", "quantize_lm_head_input", "lm_head")
            once = op.name in ("embedding", *head)
            executions = 1 if phase.name == "prefill" and op.name in head else phase.steps
            assert op.count == executions * (1 if once else run.shape.layers)
            found = {field: value for field, value in op.counts._asdict().items() if value}
            wanted = {field: naive[field] for field in ActionCounts._fields if naive[field]}
            assert found == pytest.approx(wanted, rel=1e-12), (phase.name, op.name)
            assert (op.cycles, op.causes) == (naive["cycles"], {cause: naive[cause] for cause in CAUSES}), (
                phase.name, op.name
            )  # fmt: skip
            products = sum(naive[macs] for macs in ("array_macs", "host_macs"))
            weights = 1 if op.name not in LINEAR_KINDS else run.entries and run.entries[op.name].outliers
            if op.unit == "array":
                assert op.macs == products, (phase.name, op.name)
            elif op.unit == "vector" and not weights:
                assert op.macs == naive["vector_macs"], (phase.name, op.name)


GEMMS = [Gemm(1, 9, 13), Gemm(7, 9, 13), Gemm(13, 17, 6), Gemm(5, 3, 30)]
JOBS = {
    "tokens": {"order": "tokens"},
    "descriptors": {"order": "tokens", "descriptor": 3},
    "columns": {"order": "columns", "descriptor": 64},
    "columns in descriptors": {"order": "columns", "descriptor": 3},
    "prefetch": {"order": "tokens", "descriptor": 64, "prefetch": 1},
    "single": {"order": "tokens", "descriptor": 5, "double_buffer": False},
    "ahead": {"order": "tokens", "descriptor": 5, "head_start": 30},
    "far ahead": {"order": "columns", "descriptor": 64, "head_start": 500},
    "narrow outputs": {"order": "tokens", "descriptor": 64, "output_bits": 8, "outputs_here": True},
    "inputs here": {"order": "columns", "descriptor": 64, "inputs_here": True},
    "narrow in DRAM": {"order": "tokens", "descriptor": 64, "stored": 1},
    "wide in DRAM": {"order": "tokens", "descriptor": 64, "stored": 3},
    "weights here": {"order": "tokens", "descriptor": 5, "weights_here": True},
}
CORES = [(1, 1, None), (2, 1, None), (1, 2, None), (1, 3, 5), (2, 1, 5)]


@pytest.mark.parametrize("name", JOBS)
@pytest.mark.parametrize("organisation", ["tree", "systolic"])
def test_every_mapping_takes_the_cycles_of_the_naive_one(name, organisation):
    """Small buffers behind slow and fast memories, one core and several, with and without a narrow link."""
    told = JOBS[name]
    tried = 0
    for buffers in (
        {"weight_buffer_bytes": 64, "activation_buffer_bytes": 60},
        {"weight_buffer_bytes": 200, "activation_buffer_bytes": 700},
    ):
        array = (machine if organisation == "tree" else grid)(**buffers)
        for gemm in GEMMS:
            for rate, (column_cores, fold_cores, link) in zip((2.0, 0.25, 2.0, 0.5, 0.25), CORES, strict=True):
                memory = MEMORY.model_copy(update={"peak_bytes_per_s": rate * 1e9})
                cores = CoreGroup(
                    count=column_cores * fold_cores, split="columns" if fold_cores == 1 else "rows", link_bits=link
                )
                ((columns, folds),) = cores.grids(-(-gemm.n // array.cols), -(-gemm.k // array.rows))
                if told["order"] == "columns" and columns * -(-gemm.k // array.rows) * 4 > 64:
                    continue
                job = GemmJob(
                    gemm, order=told["order"], descriptor_tokens=told.get("descriptor", 64),
                    prefetch_rounds=told.get("prefetch"), double_buffer=told.get("double_buffer", True),
                    head_start=told.get("head_start", 0), output_bits=told.get("output_bits", 16),
                    inputs_on_chip=told.get("inputs_here", False), outputs_on_chip=told.get("outputs_here", False),
                    weights_on_chip=told.get("weights_here", False),
                    weight_dram_bits=told.get("stored", 0),
                )  # fmt: skip
                cost = gemm_cost(job, array, memory, cores)
                naive = naive_gemm(
                    array, memory, *gemm, bits=2, column_cores=columns, fold_cores=folds, link_bits=link,
                    **{"descriptor": 64} | told,
                )  # fmt: skip
                where = gemm, rate, columns, folds
                assert cost.causes == {cause: naive[cause] for cause in CAUSES}, where
                assert cost.cycles == naive["cycles"] == sum(cost.causes.values()), where
                found = cost.counts._replace(array_macs_active=0, scale_multiplies=0)._asdict()
                assert found == {count: naive[count] for count in found}, where
                tried += 1
    assert tried >= 20
