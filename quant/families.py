"""Which fields of a ``config.json`` each model family reads, and what it takes where one is absent.

The defaults are those of the family's own definition in transformers; ``tests/quant/test_families.py`` compares them.
"""

from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["FAMILIES", "IRRELEVANT", "NEUTRAL", "SIZES", "Family"]

# Sizes that every family has and that are never guessed.
SIZES = {
    "hidden_size": "hidden_size",
    "intermediate_size": "intermediate_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "vocab_size": "vocab_size",
    "max_positions": "max_position_embeddings",
}

_ROPE = ("rope_theta", "rope_scaling", "rope_parameters", "partial_rotary_factor", "original_max_position_embeddings")
_EVERYWHERE = (
    "model_type",
    "architectures",
    "quantization_config",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "tie_word_embeddings",
    *SIZES.values(),
    *_ROPE,
)
_WINDOWS = ("sliding_window", "use_sliding_window", "max_window_layers", "layer_types")
_EXPERTS = ("num_experts", "num_local_experts", "num_experts_per_tok")  # the first two are two names of one field
_QWEN2_EXPERTS = ("num_experts", "num_experts_per_tok")
_GEMMA = (
    "hidden_activation",
    "hidden_act",
    "query_pre_attn_scalar",
    "final_logit_softcapping",
    "attn_logit_softcapping",
)

# Fields that do not change what the network computes from its weights: bookkeeping, training, generation, tokens.
_BOOKKEEPING = (
    *("_name_or_path", "name_or_path", "transformers_version", "transformers.js_config", "torch_dtype", "dtype"),
    *("attn_implementation", "_attn_implementation", "_attn_implementation_autoset", "auto_map", "use_cache"),
    *("cache_implementation", "pretraining_tp", "is_llama_config", "unsloth_version", "unsloth_fixed", "torchscript"),
    *("use_bfloat16", "tf_legacy_loss", "tie_encoder_decoder", "return_dict", "return_dict_in_generate"),
    *("output_scores", "output_attentions", "output_hidden_states", "remove_invalid_values", "prefix"),
    *("_flash_attn_2_enabled", "is_decoder", "max_sequence_length", "model_max_length", "tokenizer_model_max_length"),
    *("chunk_size_feed_forward", "id2label", "label2id", "problem_type", "finetuning_task", "task_specific_params"),
)
_TRAINING = (
    *(
        "initializer_range",
        "attention_dropout",
        "hidden_dropout",
        "resid_pdrop",
        "embd_pdrop",
        "gradient_checkpointing",
        "neftune_noise_alpha",
    ),
    *("router_aux_loss_coef", "output_router_logits", "router_jitter_noise"),
)
_TOKENS = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id"),
    *("bos_token", "eos_token", "pad_token", "tokenizer_class"),
)
_GENERATION = (
    *("max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty"),
    *("temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty", "no_repeat_ngram_size"),
    *("encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "forced_bos_token_id"),
    *("forced_eos_token_id", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens"),
)
IRRELEVANT = frozenset((*_BOOKKEEPING, *_TRAINING, *_TOKENS, *_GENERATION))

# Fields that say with these values what the definitions do anyway, and with any other, false included, something else.
NEUTRAL = {"is_causal": True, "full_attn_mod": 1, "interpolate_factor": 1}

_LLAMA_DEFAULTS = {
    "num_key_value_heads": None,  # as many as heads
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "tie_word_embeddings": False,
}


class Family(NamedTuple):
    """One ``model_type``.

    ``architecture``: class of the causal language model; ``reads``: fields beside those of every family; ``defaults``:
    of fields that are absent; ``facts``: fields of ``ModelShape`` that all its models have.
    """

    architecture: str
    reads: tuple[str, ...]
    defaults: Mapping[str, object]
    facts: Mapping[str, object] = {}


def _family(architecture: str, *reads: str, facts: Mapping[str, object] | None = None, **defaults: object) -> Family:
    activation = () if "hidden_activation" in reads else ("hidden_act",)
    return Family(architecture, (*_EVERYWHERE, *activation, *reads), _LLAMA_DEFAULTS | defaults, facts or {})


_GEMMA_DEFAULTS = {
    "num_key_value_heads": 4,
    "head_dim": 256,
    "hidden_activation": "gelu_pytorch_tanh",
    "tie_word_embeddings": True,
    "sliding_window": 4096,
}
_GEMMA_FACTS = {"post_norms": True, "scaled": ("embedding",)}

FAMILIES: dict[str, Family] = {
    "llama": _family("LlamaForCausalLM", "attention_bias", "mlp_bias"),
    "mistral": _family("MistralForCausalLM", "sliding_window", num_key_value_heads=8, sliding_window=4096),
    "qwen2": _family(
        "Qwen2ForCausalLM",
        *_WINDOWS,
        facts={"qkv_bias": True},
        num_key_value_heads=32,
        sliding_window=4096,
        max_window_layers=28,
    ),
    "qwen3": _family(
        "Qwen3ForCausalLM",
        "attention_bias",
        *_WINDOWS,
        facts={"query_key_norm": "head"},
        num_key_value_heads=32,
        head_dim=128,
        sliding_window=4096,
        max_window_layers=28,
    ),
    "smollm3": _family(
        "SmolLM3ForCausalLM",
        "attention_bias",
        "mlp_bias",
        "no_rope_layers",
        "no_rope_layer_interval",
        *_WINDOWS,
        num_key_value_heads=4,
        no_rope_layer_interval=4,
        rope_theta=2000000.0,
        tie_word_embeddings=True,
    ),
    "gemma2": _family(
        "Gemma2ForCausalLM",
        "attention_bias",
        "sliding_window",
        "layer_types",
        *_GEMMA,
        facts=_GEMMA_FACTS,
        **_GEMMA_DEFAULTS,
        attn_logit_softcapping=50.0,
        final_logit_softcapping=30.0,
        sliding_window_pattern=2,
    ),
    "gemma3_text": _family(
        "Gemma3ForCausalLM",
        "attention_bias",
        "sliding_window",
        "layer_types",
        "sliding_window_pattern",
        "_sliding_window_pattern",
        "rope_local_base_freq",
        *_GEMMA,
        facts=_GEMMA_FACTS | {"query_key_norm": "head"},
        **_GEMMA_DEFAULTS,
        rope_theta=1000000.0,
        sliding_window_pattern=6,
    ),
    "phi3": _family("Phi3ForCausalLM", "sliding_window", rms_norm_eps=1e-5),
    "olmo2": _family(
        "Olmo2ForCausalLM",
        "attention_bias",
        facts={"pre_norms": False, "post_norms": True, "query_key_norm": "width"},
        rms_norm_eps=1e-5,
    ),
    "granite": _family(
        "GraniteForCausalLM",
        "attention_bias",
        "mlp_bias",
        "embedding_multiplier",
        "attention_multiplier",
        "residual_multiplier",
        "logits_scaling",
    ),
    "bitnet": _family(
        "BitNetForCausalLM",
        "attention_bias",
        facts={"sub_norms": True},
        num_key_value_heads=5,
        hidden_act="relu2",
        rms_norm_eps=1e-5,
        rope_theta=500000.0,
    ),
    "mixtral": _family(
        "MixtralForCausalLM",
        "sliding_window",
        *_EXPERTS,
        num_key_value_heads=8,
        rms_norm_eps=1e-5,
        rope_theta=1000000.0,
        num_experts=8,
        num_experts_per_tok=2,
    ),
    "qwen2_moe": _family(
        "Qwen2MoeForCausalLM",
        "qkv_bias",
        *_WINDOWS,
        *_QWEN2_EXPERTS,
        "moe_intermediate_size",
        "shared_expert_intermediate_size",
        "decoder_sparse_step",
        "mlp_only_layers",
        "norm_topk_prob",
        num_key_value_heads=16,
        qkv_bias=True,
        sliding_window=4096,
        max_window_layers=28,
        num_experts=60,
        num_experts_per_tok=4,
        moe_intermediate_size=1408,
        shared_expert_intermediate_size=5632,
        decoder_sparse_step=1,
    ),
    "qwen3_moe": _family(
        "Qwen3MoeForCausalLM",
        "attention_bias",
        "sliding_window",
        "use_sliding_window",
        "max_window_layers",
        *_EXPERTS,
        "moe_intermediate_size",
        "decoder_sparse_step",
        "mlp_only_layers",
        "norm_topk_prob",
        facts={"query_key_norm": "head"},
        num_key_value_heads=4,
        sliding_window=4096,
        num_experts=128,
        num_experts_per_tok=8,
        moe_intermediate_size=768,
        decoder_sparse_step=1,
    ),
}
