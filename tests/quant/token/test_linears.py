"""A checkpoint's linear as parts: their sum is the linear, and what has no kernel is refused by name."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from hw.token.linear import outputs
from hw.token.scales import Scale
from quant.registry import load_method, options_for
from quant.token.linears import parts_of
from tests.quant.methods.problems import problem

FRACTION = 14
UNIT = Scale(np.array([2**15]), np.array([-23]))  # 2**-8


def solved(name, **options):
    weight, _, hessian = problem()
    return load_method(name).solve(weight, hessian, options_for(name, options))


@pytest.mark.parametrize(
    ("name", "options", "parts"),
    [
        ("digits", {"digits": 3}, [3]),
        ("digits", {"digits": 2, "group": 32}, [2, 2, 2]),
        ("rtn", {"group": 128}, [1]),
        ("ptqtp", {"group": 32}, [1] * 6),
        ("ptqtp-tied", {"group": None}, [2]),
        ("pt-bitnet", {"group": 32}, [1, 1, 1]),
    ],
)
def test_the_parts_add_up_to_the_linear(name, options, parts):
    solution = solved(name, **options)
    made = parts_of(solution, FRACTION, "q_proj")
    assert [part.digits for part in made] == parts
    q = np.random.default_rng(0).integers(-127, 128, (3, solution.k))
    found = outputs(q, Scale(*(v.repeat(3) for v in UNIT)), made, 32) / 2.0**FRACTION
    wanted = (q / 256) @ solution.dense().numpy().astype(np.float64).T
    # Each part rounds twice; F16 holds float16 scales exactly, times a ratio it may not.
    assert np.abs(found - wanted).max() <= len(made) * 2.0**-FRACTION + np.abs(wanted).max() * 2.0**-12


def test_rows_come_in_the_order_that_is_asked_for():
    solution, order = solved("digits"), np.arange(12)[::-1].copy()
    q = np.random.default_rng(0).integers(-127, 128, (1, solution.k))
    plain, turned = (outputs(q, UNIT, parts_of(solution, FRACTION, "q", rows), 32) for rows in (None, order))
    assert turned.tolist() == plain[:, order].tolist()


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("gptq-2bit", "offsets"),
        ("pt2-llm", "offsets"),
        ("pb-llm-qat", "outliers at 8 bits"),
    ],
)
def test_what_has_no_kernel_is_refused(name, what):
    with pytest.raises(InputError, match=rf"^layer 1, o_proj: linears of the whole token must be .* not with {what}"):
        parts_of(solved(name), FRACTION, "layer 1, o_proj")


def test_sums_beyond_the_accumulator_are_refused():
    weight = torch.randn(2, 1700)
    solution = load_method("digits").solve(weight, None, options_for("digits", {"digits": 4}))
    with pytest.raises(InputError, match=r"^layer 0, down_proj: sums of 1700 products of 4 digits may reach 8636000"):
        parts_of(solution, FRACTION, "layer 0, down_proj")
