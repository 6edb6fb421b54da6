"""Claims: our lm-eval model gives what lm-eval's own class for transformers gives, and int8 what our forward gives."""

import pytest

pytest.importorskip("lm_eval")

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.registry import get_model
from lm_eval.models.huggingface import HFLM
from transformers import AutoModelForCausalLM, AutoTokenizer

from hw.errors import InputError
from quant.evaluation.model import TritforgeLM
from quant.llama.blocks import int8_activations
from tests.quant.tiny import TEXT

pytestmark = pytest.mark.torch

END = "w37"
BOS = 1  # of the tiny model's config; its tokenizer has none of its own
PAIRS = [
    ("w1 w2 w3", " w4"),
    ("w1 w2 w3", " w5"),
    ("w9 w8", " w7 w6 w5 w4"),
    ("", "w3 w2 w1"),
    ("w5 w6 ", "w7 w7"),
    (" ".join(f"w{i % 37}" for i in range(90)), " w1 w2"),  # longer than the context of 64
]


def instances(kind, arguments):
    return [Instance(kind, {}, one, number) for number, one in enumerate(arguments)]


@pytest.fixture(scope="module")
def theirs(tiny_folder):
    model = AutoModelForCausalLM.from_pretrained(tiny_folder, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tiny_folder)
    tokenizer.eos_token = END  # the beginning of no other word, for lm-eval looks for its letters
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return HFLM(pretrained=model, tokenizer=tokenizer, prefix_token_id=BOS, device="cpu")


@pytest.fixture
def ours(tiny):
    tiny.model.config.eos_token_id = tiny.tokenizer.encode(END)[0]
    return TritforgeLM(tiny, "float")


def test_loglikelihoods_are_those_of_lm_evals_own_class(ours, theirs):
    requests = instances("loglikelihood", PAIRS)
    for (value, greedy), (other, other_greedy) in zip(
        ours.loglikelihood(requests), theirs.loglikelihood(requests, disable_tqdm=True), strict=True
    ):
        assert value == pytest.approx(other, abs=1e-4)
        assert greedy == other_greedy
    assert ours.cut == 1


def test_what_greedy_decoding_would_write_is_said_to_be_greedy(ours):
    context = "w1 w2 w3"
    (written,) = ours.generate_until(instances("generate_until", [(context, {"until": [], "max_gen_toks": 2})]))
    ((_, greedy),) = ours.loglikelihood(instances("loglikelihood", [(context, f" {written.strip()}")]))
    assert greedy


def test_whole_texts_are_those_of_lm_evals_own_class(ours, theirs):
    texts = [(" ".join(TEXT.split()[:150]),), ("w1 w2",), (" ".join(TEXT.split()[200:264]),)]
    requests = instances("loglikelihood_rolling", texts)
    expected = theirs.loglikelihood_rolling(requests, disable_tqdm=True)
    assert ours.loglikelihood_rolling(requests) == pytest.approx(expected, abs=1e-3)


def test_greedy_text_is_that_of_lm_evals_own_class_and_ends_before_its_stop(ours, theirs):
    given = {"until": ["w3"], "max_gen_toks": 12, "do_sample": False}
    contexts = ["w1 w2 w3", "w9 w8", "w30 w31 w32 w33 w34", " ".join(f"w{i % 37}" for i in range(90))]
    requests = instances("generate_until", [(context, dict(given)) for context in contexts])
    expected = theirs.generate_until(requests, disable_tqdm=True)
    found = ours.generate_until(requests)
    kept = [[word for word in text.split() if word != "<unk>"] for text in found]  # which lm-eval leaves out
    assert kept == [text.split() for text in expected]
    assert any(kept)
    assert not any("w3" in text.split() for text in found)


def test_int8_activations_change_what_is_measured_as_in_a_forward_pass(tiny, ours):
    request = instances("loglikelihood", [("w1 w2 w3", " w4")])
    ((value, _),) = TritforgeLM(tiny, "int8").loglikelihood(request)
    tokens = torch.tensor([tiny.tokenizer.encode("w1 w2 w3 w4")])
    with torch.no_grad(), int8_activations(tiny.model):
        logits = tiny.model(tokens).logits[0, -2]
    assert value == pytest.approx(logits.log_softmax(-1)[tokens[0, -1]].item(), abs=1e-5)
    assert value != pytest.approx(ours.loglikelihood(request)[0][0], abs=1e-5)


def test_lm_eval_knows_the_class_by_its_name(tiny_folder):
    made = get_model("tritforge").create_from_arg_string(f"source={tiny_folder},activations=float", {"batch_size": 1})
    assert made.max_length == 64
    with pytest.raises(InputError, match=r"^activations must be int8 or float, not 'fp4'$"):
        get_model("tritforge").create_from_arg_string(f"source={tiny_folder},activations=fp4")


def test_what_greedy_text_cannot_be_is_refused(ours):
    with pytest.raises(InputError, match=r"do_sample must be false, as text is greedy here"):
        ours.generate_until(instances("generate_until", [("w1", {"do_sample": True, "temperature": 1.0})]))
    with pytest.raises(InputError, match=r"max_gen_toks must be below 64, the context of model 'tiny-llama', not 64"):
        ours.generate_until(instances("generate_until", [("w1", {"max_gen_toks": 64})]))
    with pytest.raises(InputError, match=r"a continuation has 70 tokens, but model 'tiny-llama' reads 64 at once"):
        ours.loglikelihood(instances("loglikelihood", [("w1", " w2" * 70)]))
    with pytest.raises(InputError, match=r"must have tokens of its own after its context, not none; begin its target"):
        ours.loglikelihood(instances("loglikelihood", [("w1", "w2")]))  # one unknown word
