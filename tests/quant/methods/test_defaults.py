"""Defaults of every method's options by the papers and codes that they follow, and the names that fix an option."""

import pytest

from quant.methods.method import ModelOptions
from quant.methods.pt_bitnet import Options as PtBitnetOptions
from quant.methods.twn import TWN_THRESHOLD
from quant.registry import load_method, method_names, options_for

A16 = {"calibrated": "A16"}  # published for float activations
BLOCK = A16 | {"epochs": 20, "block_rate": 0.01, "block_tokens_per_step": 8192, "objective": "linear"}
CLOSED_FORM = {"group": 128, "attention_group": None, "scales": "free", "damping": 0.01, "flips": 64, "shrink": 0.1}
DIVISORS = A16 | {
    "levels": "ternary", "digits": 1, "group": 128, "grid": 100, "epochs": 20, "block_rate": 6e-4,
    "block_tokens_per_step": 2048,
}  # fmt: skip
FULL = ModelOptions().model_dump()
ALLOCATION = {"bits": 2, "group": 128, "search_tokens": 4096, "damping": 0.01}
TUNED = {"epochs": 3, "tokens_per_step": 16384, "warmup": 0.03}
DEFAULTS = {
    "rtn": {"scale": "group", "group": 128},
    # GPTQ: percdamp 0.01; groups of 128 as in its low-bit tables
    "gptq": A16 | {"levels": "ternary", "group": 128, "scale": "least-squares", "clip": "search", "damping": 0.01},
    "gptq-2bit": A16 | {"levels": "2bit", "group": 128, "scale": "least-squares", "clip": "search", "damping": 0.01},
    "pt-bitnet": CLOSED_FORM | {"sequential": True, "refit": 0.5, "follow": 0.75, "relative": 1.0, "bias": False},
    # PB-LLM: 10 % of the weights at 8 bits, no groups
    "pb-llm": A16
    | {"salient_fraction": 0.1, "metric": "hessian", "group": None, "scale_over": "all", "damping": 0.01},
    "pb-llm-qat": BLOCK
    | {
        "block_rate": 0.002, "salient_fraction": 0.1, "metric": "hessian", "scale": "tensor", "steps": 200,
        "learning_rate": 0.002, "damping": 0.01,
    },
    # BiLLM: blocks of 128, up to 50 salient columns
    "billm": A16 | {"group": 128, "most_salient": 50, "search": "saliency", "damping": 0.01},
    # OmniQuant: 20 epochs at 1e-2 for the clipping
    "omniquant": BLOCK | {"group": 128, "steps": 100, "learning_rate": 0.05, "damping": 0.01},
    "pt2-llm": A16 | {"group": 128, "reorder": True, "align": True, "feedback": "block", "damping": 0.01},
    "ptqtp": {"group": 128, "tied": False, "iterations": 50},
    "ptqtp-tied": {"group": 128, "tied": True, "iterations": 50},
    "digits": {"digits": 3, "group": None, "iterations": 10},
    # FlexRound and LRQ: 100 ranges, a rate of 6e-4 for W3A16 of 7 B
    "flexround": DIVISORS,
    "lrq": DIVISORS | {"rank": None, "draw": 0},
    # Sherry: groups of 128; trained as full strength is
    "sherry": FULL | {"group": 128, "feedback": True, "damping": 0.01},
    # PTQ1.61: a fifth at 4 bits, 20 epochs, 5e-4 and 1e-3, a window of 2048 tokens a step
    "ptq1.61": A16
    | {
        "kept": 0.2, "epochs": 20, "block_rate": 5e-4, "factor_rate": 1e-3, "block_tokens_per_step": 2048,
        "preprocess_steps": 0, "preprocess_rank": 64, "preprocess_rate": 1e-4, "preprocess_windows": 4096,
    },
    # SliM-LLM: blocks of 128, percdamp 0.01, lambda 1; + : 50 epochs at 1e-2, a window of 2048 tokens a step
    "slim-llm": A16 | ALLOCATION | {"ranges": "fitted", "balance": 1.0},
    "slim-llm+": A16 | ALLOCATION | {"epochs": 50, "block_rate": 0.01, "block_tokens_per_step": 2048},
    # PEQA: a scale per row, three epochs
    "peqa": TUNED | {"digits": 1, "group": None, "rate": 2e-3} | A16,
    # RoSTE: the two errors as they are, warm-up over 3 %
    # WKVQuant: five blocks behind, K and V of 4 bits per head; clipping and factors as OmniQuant's
    "wkvquant": A16
    | {
        "digits": 3, "group": 128, "kv_bits": 4, "kv_group": None, "cross_blocks": 5, "smooth": 0.5,
        "factor_rate": 1e-3, "epochs": 20, "block_rate": 5e-3, "block_tokens_per_step": 2048,
    },
    "roste": TUNED | {"rotated": "chosen", "draw": 0, "activations": 1.0, "group": 128, "rate": 1e-4},
}  # fmt: skip


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults(name):
    assert options_for(name, {}).model_dump() == DEFAULTS[name]


def test_full_strength_starts_with_the_closed_form_and_every_method_is_in_the_table():
    full = options_for("pt-bitnet-full", {})
    assert full.model_dump(include=set(CLOSED_FORM)) == CLOSED_FORM
    assert {*DEFAULTS, "pt-bitnet-full"} == set(method_names())
    assert TWN_THRESHOLD == 0.75


def test_what_the_procedures_are_told():
    told = {name: options_for(name, {}) for name in (*method_names(), "native")}
    procedures = {name: one.procedure for name, one in told.items()}
    others = {name: procedure for name, procedure in procedures.items() if procedure != "layerwise"}
    assert others == {
        "pt-bitnet-full": "modelwise", "native": "stored", "flexround": "blockwise", "lrq": "blockwise",
        "slim-llm+": "blockwise", "sherry": "modelwise", "ptq1.61": "blockwise",
        "peqa": "tuned", "roste": "tuned", "wkvquant": "crossblock",
    }  # fmt: skip
    assert {name for name, one in told.items() if one.sampled_tokens} == {"slim-llm", "slim-llm+"}
    assert {name for name, one in told.items() if getattr(one, "both_streams", False)} == {"slim-llm+", "ptq1.61"}
    assert {name for name, one in told.items() if getattr(one, "factors_at", 0)} == {"ptq1.61"}
    assert {name for name, one in told.items() if getattr(one, "cosine", 0)} == {"ptq1.61"}
    by_block = {name: options_for(name, {"objective": "block"}).procedure for name in ("omniquant", "pb-llm-qat")}
    assert set(by_block.values()) == {"blockwise"}
    assert {name for name, one in told.items() if one.inputs_in_turn} == {"pt-bitnet"}
    assert {name: one.refit_share for name, one in told.items() if one.refit_share} == {"pt-bitnet": 0.5}
    apart = {name for name, one in told.items() if one.rows_apart}
    assert apart == {"gptq", "gptq-2bit", "pt-bitnet", "pt-bitnet-full", "digits", "sherry"}
    learned = {name for name in method_names() if hasattr(load_method(name), "learned_weight")}
    without = {name for name in method_names() if not hasattr(load_method(name), "solve")}
    assert without == {"flexround", "lrq", "slim-llm+", "ptq1.61", "peqa", "roste", "wkvquant"}
    assert learned == without | {"omniquant", "pb-llm-qat"}


def test_only_attention_takes_the_attention_group():
    options = PtBitnetOptions(group=64, attention_group=16)
    kinds = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    assert [options.for_kind(kind).group for kind in kinds] == [16] * 4 + [64] * 3
    assert PtBitnetOptions(group=64).for_kind("q_proj").group == 64
