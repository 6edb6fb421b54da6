"""Text that a model writes itself, continuing short prompts cut out of the calibration slice."""

import copy

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.progress import CountReport
from quant.llama.blocks import streams

__all__ = ["generate_windows", "generation_settings", "rows_that_fit"]

_PROMPT_TOKENS = 48  # longest prompt; its length is uniform from 1
_TEMPERATURE = 0.95
_BATCH = 3072  # windows generated side by side on a GPU, where they fit
_GPU_BYTES = 37e9  # of a 40 GB card: for weights and the keys and values of all windows of a batch


@torch.no_grad()
def generate_windows(
    model: PreTrainedModel, windows: Tensor, count: int, length: int, seed: int, progress: CountReport
) -> Tensor:
    """Text that the model samples: int64 ``(count, length)``; every row starts with 1 to 48 tokens of the slice.

    ``windows``: calibration tokens, int64 ``(windows, any length)``. On a GPU a copy of the model in bfloat16 writes.
    """
    device = next(model.parameters()).device
    batch = 16
    if device.type == "cuda" or streams(model):
        batch = rows_that_fit(model, length)
        model = _whole_copy(model, device)
    generator = torch.Generator(device=device).manual_seed(seed)
    slice_ = windows.flatten().to(device)
    rows = []
    for start in range(0, count, batch):
        size = min(batch, count - start)
        begin = torch.randint(len(slice_) - _PROMPT_TOKENS, (size, 1), device=device, generator=generator)
        prompt = slice_[begin + torch.arange(_PROMPT_TOKENS, device=device)]
        kept = torch.randint(1, _PROMPT_TOKENS + 1, (size,), device=device, generator=generator)
        rows.append(_sample(model, prompt, kept, length, generator))
        progress(start + size, count)
    return torch.cat(rows)


def generation_settings(model: PreTrainedModel) -> dict[str, float | int | str]:
    """What the text depends on beside the model, its prompts and the seed; another value here is another text."""
    device = next(model.parameters()).device.type
    return {"prompt": _PROMPT_TOKENS, "temperature": _TEMPERATURE, "device": device, "streamed": streams(model)}


def _whole_copy(model: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """The model on ``device`` in bfloat16; never a second copy on the host."""
    moved = {
        id(p): nn.Parameter(p.to(device, copy=True).to(torch.bfloat16), requires_grad=False) for p in model.parameters()
    }
    return copy.deepcopy(model, moved).to(device)


def rows_that_fit(model: PreTrainedModel, length: int) -> int:
    """Windows whose keys and values of all layers fit on a GPU beside the weights, all in bfloat16."""
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    row = 2 * config.num_hidden_layers * config.num_key_value_heads * head * length * torch.bfloat16.itemsize
    weights = sum(p.numel() for p in model.parameters()) * torch.bfloat16.itemsize
    return max(1, min(_BATCH, int((_GPU_BYTES - weights) / row)))


def _sample(model: PreTrainedModel, prompt: Tensor, kept: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Continue row r after its first ``kept[r]`` prompt tokens."""
    tokens, cache, row = [prompt[:, 0]], None, prompt[:, 0]
    for position in range(1, length):
        output = model(row[:, None], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        chances = (output.logits[:, -1].float() / _TEMPERATURE).softmax(-1)
        row = torch.multinomial(chances, 1, generator=generator)[:, 0]
        if position < prompt.shape[1]:
            row = torch.where(position < kept, prompt[:, position], row)
        tokens.append(row)
    return torch.stack(tokens, 1)
