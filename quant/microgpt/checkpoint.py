"""A trained microGPT as a Hugging Face LLaMA: ternary weights as real numbers, heads as one KV head's queries."""

from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split
from torch import Tensor
from transformers import LlamaConfig, PreTrainedTokenizerFast

from hw.token.rope import neighbour_rows
from quant.microgpt.model import LINEARS, ternary
from quant.microgpt.names import END, LETTERS, VOCABULARY
from quant.microgpt.sizes import CALIBRATION, CONTEXT, EPSILON, HEADS, HIDDEN, INTERMEDIATE, THETA

__all__ = ["write_checkpoint"]

_CALIBRATED = 400  # names, few ones again and again


def write_checkpoint(folder: Path, parameters: dict[str, Tensor], names: Sequence[str]) -> None:
    """Write weights, config, tokenizer and names to calibrate on; every command that takes a model takes it."""
    folder.mkdir(parents=True, exist_ok=True)
    config = LlamaConfig(
        architectures=["LlamaForCausalLM"],
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=1,
        num_attention_heads=HEADS,
        num_key_value_heads=1,
        head_dim=HIDDEN,
        max_position_embeddings=CONTEXT,
        rope_parameters={"rope_type": "default", "rope_theta": THETA},
        rms_norm_eps=EPSILON,
        tie_word_embeddings=False,
        bos_token_id=END,
        eos_token_id=END,
    )
    config.save_pretrained(folder)
    save_file(_tensors(parameters), folder / "model.safetensors", {"format": "pt"})
    vocabulary = {letter: number for number, letter in enumerate("." + LETTERS)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="."))
    tokenizer.pre_tokenizer = Split(Regex("."), "isolated")
    tokenizer.decoder = Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=".").save_pretrained(folder)
    sample = islice(cycle(names[:: max(1, len(names) // _CALIBRATED)]), _CALIBRATED)
    (folder / CALIBRATION).write_text("." + ".".join(sample) + ".", encoding="utf-8")


def _tensors(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """By their names in a LLaMA; query h is zero outside channels 6 h to 6 h + 5, and so is what o takes of it."""
    made = {name: torch.mul(*ternary(parameters[name])) for name in LINEARS}
    own = torch.arange(HIDDEN) // (HIDDEN // HEADS)  # head of a channel
    mine = torch.cat([own == head for head in range(HEADS)])  # (96,)
    query = torch.where(mine[:, None], made["q"].repeat(HEADS, 1), 0.0)
    # A LLaMA's scores are divided by the root of its head's 24 channels, ours by that of 6: twice, a power of two.
    query = 2 * query
    made["q"] = query[_halves(HEADS)]
    made["k"] = made["k"][_halves(1)]
    made["o"] = torch.where(mine[None], made["o"].repeat(1, HEADS), 0.0)
    places = {name: f"self_attn.{name}_proj" for name in "qkvo"} | {
        name: f"mlp.{name}_proj" for name in ("gate", "up", "down")
    }
    places |= {"input_norm": "input_layernorm", "post_norm": "post_attention_layernorm"}
    everything = parameters | made
    found = {f"model.layers.0.{place}.weight": everything[name] for name, place in places.items()}
    found |= {
        "model.embed_tokens.weight": parameters["embedding"],
        "model.norm.weight": parameters["last_norm"],
        "lm_head.weight": parameters["head"],
    }
    return {name: tensor.contiguous() for name, tensor in found.items()}


def _halves(heads: int) -> Tensor:
    """Order of rows that turns neighbouring pairs into pairs (i, i + 12), as a LLaMA's checkpoint has them."""
    return torch.from_numpy(neighbour_rows(heads, HIDDEN)).argsort()
