"""Ops of the families, counted by hand: windows, norms, biases, soft caps, constants, experts."""

from collections import Counter

import pytest

from hw.config import sized
from hw.errors import InputError
from quant.shapes import Experts, ModelShape
from sim.execution import Execution
from sim.memory import load_memory
from sim.reports.timeline import step_spans
from sim.simulator import simulate
from sim.trace.build import build_trace
from sim.trace.experts import even_visits
from sim.trace.ops import AttentionOp, Formats, LinearOp

PLAIN = ModelShape(
    name="plain",
    source="made up for these tests",
    hidden_size=64,
    intermediate_size=96,
    layers=6,
    heads=4,
    kv_heads=2,
    head_dim=16,
    vocab_size=300,
    max_positions=128,
)


def ops_of(phase="decode", prefill=20, decode=5, batch=1, **fields):
    shape = ModelShape(**PLAIN.model_dump() | fields)
    trace = build_trace(shape, prefill, decode, batch)
    return next(one for one in trace.phases if one.name == phase).ops


def named(ops, name):
    return [op for op in ops if op.name == name]


def test_layers_of_each_window_have_attention_of_their_own():
    ops = ops_of(sliding_window=8, windowed_layers=(0, 2, 3, 5))
    found = [(op.name, op.window, op.count) for op in ops if isinstance(op, AttentionOp)]
    assert found == [
        ("attention_scores", 8, 4),
        ("softmax", 8, 4),
        ("attention_values", 8, 4),
        ("attention_scores", None, 2),
        ("softmax", None, 2),
        ("attention_values", None, 2),
    ]
    assert [op.window for op in named(ops_of(sliding_window=8), "softmax")] == [8]


def test_norms_stand_where_the_family_has_them():
    def norms(**fields):
        return {op.name: op.operations for op in ops_of(**fields) if op.name.endswith("_norm")}

    width = 3 * 64  # three operations per element of the residual stream
    assert norms() == {"attention_norm": width, "mlp_norm": width, "final_norm": width}
    gemma = norms(post_norms=True, query_key_norm="head")
    assert gemma == norms() | {
        "attention_post_norm": width,
        "mlp_post_norm": width,
        "query_key_norm": 3 * (64 + 32),
    }
    assert set(norms(pre_norms=False, post_norms=True)) == {"attention_post_norm", "mlp_post_norm", "final_norm"}


def test_biases_are_adds():
    found = {op.name: op.operations for op in ops_of(qkv_bias=True, o_bias=True, mlp_bias=True) if "bias" in op.name}
    assert found == {"qkv_bias": 64 + 32 + 32, "o_bias": 64, "gate_up_bias": 2 * 96, "down_bias": 64}
    assert not [op for op in ops_of() if "bias" in op.name]


def test_layers_and_parts_of_heads_without_rotary_positions_cost_none():
    (rope,) = named(ops_of(), "rope")
    assert (rope.count, rope.operations) == (6, 3 * (64 + 32))
    (rope,) = named(ops_of(layers_without_rope=(3, 5), rotary_dim=4), "rope")
    assert (rope.count, rope.operations) == (4, 3 * (4 + 2) * 4)
    assert not named(ops_of(layers_without_rope=tuple(range(6))), "rope")


def test_constants_and_soft_caps():
    ops = ops_of(scaled=("embedding", "residual", "logits"), logit_softcap=True, attention_softcap=True, batch=3)
    once = [(op.name, op.count, op.tokens, op.operations) for op in ops if op.name.endswith(("scale", "softcap"))]
    assert once == [("embedding_scale", 1, 3, 64), ("logits_scale", 1, 3, 300), ("logit_softcap", 1, 3, 6 * 300)]
    assert {op.operations for op in ops if op.name.endswith("residual")} == {2 * 64}
    assert all(op.softcap for op in ops if isinstance(op, AttentionOp))
    first = build_trace(ModelShape(**PLAIN.model_dump() | {"logit_softcap": True}), 20, 0, 1, None, None, None, CHUNKS)
    assert [len(named(phase.ops, "logit_softcap")) for phase in first.phases] == [0, 1]


CHUNKS = Execution(prefill_chunk=10)


@pytest.mark.parametrize(
    ("count", "per_token", "tokens", "visits"),
    [(8, 2, 1, {1: 2}), (8, 2, 3, {1: 6}), (8, 2, 4, {1: 8}), (8, 2, 7, {2: 6, 1: 2}), (5, 5, 3, {3: 5})],
)
def test_tokens_spread_evenly_over_experts(count, per_token, tokens, visits):
    assert even_visits(Experts(count=count, per_token=per_token, size=1), tokens) == visits
    assert sum(each * number for each, number in visits.items()) == tokens * per_token


def test_a_mixture_reads_and_multiplies_the_experts_that_tokens_visit():
    experts = Experts(count=8, per_token=2, size=40, shared_size=24, dense_layers=(0,))
    ops = ops_of(experts=experts)
    gates = [(op.count, tuple(op.gemm)) for op in named(ops, "gate_proj")]
    # One layer of the model's own MLP, five with two of eight experts, five with the shared expert.
    assert gates == [(1, (1, 96, 64)), (10, (1, 40, 64)), (5, (1, 24, 64))]
    weights = sum(op.count * op.gemm.n * op.gemm.k for op in ops if isinstance(op, LinearOp) and "_proj" in op.name)
    attention = 6 * (64 * 64 + 2 * 32 * 64 + 64 * 64)
    assert weights == attention + 3 * 64 * (96 + 5 * (2 * 40 + 24))
    assert [(op.count, tuple(op.gemm)) for op in named(ops, "router")] == [(5, (1, 8, 64))]
    assert [tuple(op.gemm) for op in named(ops, "shared_gate")] == [(1, 1, 64)]
    silu = sum(op.count * op.tokens * op.operations for op in named(ops, "gate"))
    assert silu == 5 * (96 + 5 * (2 * 40 + 24))
    prompt = ops_of("prefill", experts=experts)
    visited = sum(op.count * op.gemm.macs for op in named(prompt, "down_proj"))
    assert visited == 20 * 64 * (96 + 5 * (2 * 40 + 24))  # every token's products, however they are spread


def test_mixed_steps_of_a_mixture_are_refused():
    shape = ModelShape(**PLAIN.model_dump() | {"experts": {"count": 4, "per_token": 2, "size": 8}})
    with pytest.raises(InputError, match="mixed steps of prompt and decode are not simulated for mixtures of experts"):
        build_trace(shape, 20, 4, execution=Execution(mixed_chunk=8))


@pytest.mark.parametrize(
    "fields",
    [
        {"pre_norms": False, "post_norms": True},
        {"scaled": ("embedding",), "sliding_window": 8, "windowed_layers": (0, 1)},
        {"experts": {"count": 8, "per_token": 3, "size": 16, "dense_layers": (0,)}},
    ],
)
def test_every_family_simulates_and_its_timeline_draws_every_op(fields):
    shape = ModelShape(**PLAIN.model_dump() | fields)
    result = simulate(shape, sized(8, 8), load_memory("ddr4-2400"), 12, 4)
    for phase in result.phases:
        drawn = Counter(span.op for span in step_spans(result, phase) if span.track == "ops")
        wanted = Counter()
        for op in phase.ops:
            wanted[op.name] += op.count // phase.steps
        assert drawn == wanted


@pytest.mark.parametrize(("activation", "gate"), [("silu", 5), ("relu2", 3), ("gelu", 8)])
def test_the_work_around_experts_is_counted_by_element(activation, gate):
    """Three of eight experts of 40 and a shared one of 24, for a batch of 2 at 16-bit residuals and 8-bit inputs."""
    experts = Experts(count=8, per_token=3, size=40, shared_size=24, dense_layers=(1,))
    ops = ops_of(experts=experts, activation=activation, batch=2)
    router, shared_gate = (named(ops, name)[0] for name in ("router", "shared_gate"))
    assert [(op.count, tuple(op.gemm), op.statistics) for op in (router, shared_gate)] == [
        (5, (2, 8, 64), None), (5, (2, 1, 64), None)
    ]  # fmt: skip
    (routing,), (total,) = named(ops, "routing"), named(ops, "experts_sum")
    assert (routing.count, routing.tokens, routing.operations) == (5, 2, 5 * 8)  # a softmax over the scores
    assert (routing.input_bits, routing.output_bits) == (8 * 16, 3 * 16)
    assert (total.count, total.tokens, total.operations) == (5, 2, 2 * 4 * 64)  # a product and an add for each output
    assert (total.input_bits, total.output_bits) == (4 * 64 * 16, 64 * 16)
    found = {(op.name, op.count, op.tokens): (op.input_bits, op.output_bits, op.operations) for op in ops
             if op.name in ("gate", "quantize_down_proj_input")}  # fmt: skip
    assert found == {
        ("gate", 1, 2): (2 * 96 * 16, 96 * 16, gate * 96),
        ("quantize_down_proj_input", 1, 2): (96 * 16, 96 * 8, 2 * 96),
        ("gate", 5, 6): (2 * 40 * 16, 40 * 16, gate * 40),
        ("quantize_down_proj_input", 5, 6): (40 * 16, 40 * 8, 2 * 40),
        ("gate", 5, 2): (2 * 24 * 16, 24 * 16, gate * 24),
        ("quantize_down_proj_input", 5, 2): (24 * 16, 24 * 8, 2 * 24),
    }
    down = [(op.count, tuple(op.gemm)) for op in named(ops, "down_proj")]
    assert down == [(1, (2, 64, 96)), (5 * 6, (1, 64, 40)), (5, (2, 64, 24))]
    alone = ops_of(experts=experts.model_copy(update={"shared_size": None}), activation=activation)
    assert named(alone, "experts_sum")[0].operations == 2 * 3 * 64
    assert not named(alone, "shared_gate")


def test_experts_of_16_bit_inputs_are_not_quantized():
    shape = ModelShape(**PLAIN.model_dump() | {"experts": {"count": 4, "per_token": 2, "size": 8}})
    trace = build_trace(shape, 20, 4, formats=Formats(activation_bits=16))
    assert not [op for phase in trace.phases for op in phase.ops if op.name.startswith("quantize")]


def test_models_whose_layers_are_all_dense_have_no_router():
    experts = Experts(count=4, per_token=2, size=8, dense_layers=tuple(range(6)))
    ops = ops_of(experts=experts)
    assert [op.name for op in ops] == [op.name for op in ops_of()]
