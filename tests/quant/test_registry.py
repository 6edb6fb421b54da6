"""Claims: names are known without torch, unknown names and options are refused with the known ones."""

import subprocess
import sys

import pytest

from hw.errors import InputError
from quant import registry


def test_names_need_no_torch():
    code = "import sys, quant.registry; assert quant.registry.method_names(); print('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_all_methods_of_the_project_are_listed():
    required = "rtn gptq gptq-2bit pt-bitnet pb-llm pb-llm-qat billm omniquant pt2-llm ptqtp ptqtp-tied"
    assert set(required.split()) <= set(registry.method_names())


def test_unknown_method_names_the_known_ones():
    with pytest.raises(InputError, match=r"method must be one of rtn, gptq, .*, not 'gtpq'"):
        registry.load_method("gtpq")


def test_a_method_is_one_module_and_one_line(monkeypatch, tmp_path):
    (tmp_path / "copied.py").write_text(
        "from quant.methods.method import MethodOptions\n"
        "class Options(MethodOptions):\n    group: int = 128\n    tied: bool = False\n"
        "def solve(weight, hessian, options):\n    return weight\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))
    registry.register("copied", "copied", tied=True)
    options = registry.options_for("copied", {"group": 64})
    assert (options.group, options.tied) == (64, True)
    assert registry.load_method("copied").solve("w", None, options) == "w"
    with pytest.raises(InputError, match="method copied: unknown field 'grup' = 64; known fields: group, tied"):
        registry.options_for("copied", {"grup": 64})
    with pytest.raises(InputError, match="method copied: option 'tied' must be True, not False"):
        registry.options_for("copied", {"tied": False})


@pytest.mark.parametrize(
    ("method", "option", "other"),
    [
        ("pt-bitnet", "window", "pt-bitnet-full, sherry"),
        ("pt-bitnet-full", "refit", "pt-bitnet"),
        ("rtn", "tied", "ptqtp"),
    ],
)
def test_an_option_of_another_method_is_refused_with_its_name(method, option, other):
    with pytest.raises(
        InputError, match=f"^method {method}: option '{option}' must be one of .*; .* an option of {other}$"
    ):
        registry.options_for(method, {option: 1})


def test_procedures_are_declared():
    found = {name: registry.options_for(name, {}).procedure for name in registry.method_names()}
    for procedure, names in {
        "modelwise": {"pt-bitnet-full", "sherry"},
        "blockwise": {"flexround", "lrq", "slim-llm+", "ptq1.61"},
        "tuned": {"peqa", "roste"},
        "crossblock": {"wkvquant"},
    }.items():  # fmt: skip
        assert {name for name, one in found.items() if one == procedure} == names
    by_block = [registry.options_for(name, {"objective": "block"}) for name in ("omniquant", "pb-llm-qat")]
    assert {one.procedure for one in by_block} == {"blockwise"}
