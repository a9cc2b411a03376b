"""Random tiny decoders of transformers' own configurations: what a newcomer's model may look like inside."""

from __future__ import annotations

from typing import Any

V, H, F, L, A = 261, 64, 128, 4, 4
PLAIN: dict[str, Any] = {
    "vocab_size": V, "hidden_size": H, "intermediate_size": F, "num_hidden_layers": L, "num_attention_heads": A,
    "num_key_value_heads": 2, "max_position_embeddings": 2048, "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 1,
    "initializer_range": 0.12,
}  # fmt: skip
WITHOUT_GROUPS = {key: value for key, value in PLAIN.items() if key != "num_key_value_heads"}
OLD = {
    "vocab_size": V, "n_embd": H, "n_layer": L, "n_head": A, "n_positions": 2048, "eos_token_id": 1, "bos_token_id": 1,
    "pad_token_id": 1, "initializer_range": 0.12,
}  # fmt: skip
NAMED = {
    "vocab_size": V, "eos_token_id": 1, "bos_token_id": 1, "pad_token_id": 1, "initializer_range": 0.12,
}  # fmt: skip
GEMMA = {**PLAIN, "head_dim": 16, "query_pre_attn_scalar": 16}
FALCON = {key: value for key, value in WITHOUT_GROUPS.items() if key != "intermediate_size"}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", {**PLAIN, "tie_word_embeddings": True}),
    "mistral": ("MistralConfig", {**PLAIN, "sliding_window": None}),
    "mistral-window": ("MistralConfig", {**PLAIN, "sliding_window": 32}),
    "qwen2": ("Qwen2Config", PLAIN),
    "qwen3": ("Qwen3Config", {**PLAIN, "head_dim": 16}),
    "phi": ("PhiConfig", PLAIN),
    "phi3": ("Phi3Config", PLAIN),
    "gemma": ("GemmaConfig", {**PLAIN, "head_dim": 16}),
    "gemma2": ("Gemma2Config", {**GEMMA, "sliding_window": 256}),
    "gemma3": ("Gemma3TextConfig", {**GEMMA, "sliding_window": 256}),
    "gemma3-window": ("Gemma3TextConfig", {**GEMMA, "sliding_window": 32}),
    "gemma3-multimodal": (
        "Gemma3Config",
        {
            "text_config": {**GEMMA, "model_type": "gemma3_text"},
            "vision_config": {
                "model_type": "siglip_vision_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": L,
                "num_attention_heads": 2, "image_size": 28, "patch_size": 14,
            },
        },
    ),
    "olmo": ("OlmoConfig", PLAIN),
    "olmo2": ("Olmo2Config", PLAIN),
    "granite": ("GraniteConfig", {**PLAIN, "residual_multiplier": 0.22}),
    "cohere": ("CohereConfig", PLAIN),
    "stablelm": ("StableLmConfig", PLAIN),
    "starcoder2": ("Starcoder2Config", PLAIN),
    "nemotron": ("NemotronConfig", PLAIN),
    "glm": ("GlmConfig", {**PLAIN, "head_dim": 16}),
    "glm4": ("Glm4Config", {**PLAIN, "head_dim": 16}),
    "smollm3": ("SmolLM3Config", PLAIN),
    "exaone4": ("Exaone4Config", {**PLAIN, "sliding_window": 256}),
    "arcee": ("ArceeConfig", PLAIN),
    "helium": ("HeliumConfig", {**PLAIN, "head_dim": 16}),
    "lfm2": ("Lfm2Config", PLAIN),
    "gpt2": ("GPT2Config", OLD),
    "gpt-bigcode": ("GPTBigCodeConfig", OLD),
    "gptj": ("GPTJConfig", {**OLD, "rotary_dim": 8}),
    "codegen": ("CodeGenConfig", {**OLD, "n_ctx": 2048, "rotary_dim": 8}),
    "gpt-neo": (
        "GPTNeoConfig",
        {**NAMED, "hidden_size": H, "num_layers": L, "num_heads": A, "max_position_embeddings": 2048,
         "attention_types": [[["global", "local"], 2]], "window_size": 64},
    ),
    "gpt-neox": ("GPTNeoXConfig", WITHOUT_GROUPS),
    "falcon": ("FalconConfig", {**FALCON, "multi_query": True, "parallel_attn": True, "bias": False, "alibi": False}),
    "falcon-alibi": (
        "FalconConfig", {**FALCON, "multi_query": False, "parallel_attn": False, "bias": True, "alibi": True},
    ),
    "bloom": ("BloomConfig", {**NAMED, "hidden_size": H, "n_layer": L, "n_head": A}),
    "mpt": (
        "MptConfig",
        {**NAMED, "d_model": H, "n_layers": L, "n_heads": A, "expansion_ratio": 2, "max_seq_len": 2048},
    ),
    "opt": (
        "OPTConfig",
        {**NAMED, "hidden_size": H, "ffn_dim": F, "num_hidden_layers": L, "num_attention_heads": A, "init_std": 0.12,
         "max_position_embeddings": 2048, "word_embed_proj_dim": H},
    ),
    "biogpt": ("BioGptConfig", PLAIN),
    "mixtral": ("MixtralConfig", {**PLAIN, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3-moe": ("Qwen3MoeConfig", {**PLAIN, **EXPERTS, "head_dim": 16}),
    "olmoe": ("OlmoeConfig", {**PLAIN, "num_experts": 4, "num_experts_per_tok": 2}),
}  # fmt: skip
MIXTURES = ("mixtral", "qwen3-moe", "olmoe")
"""No one MLP to edit."""
NORMED = ("gemma2", "gemma3", "gemma3-window", "gemma3-multimodal", "olmo2", "glm4", "exaone4")
"""A norm lies between the MLP and the stream."""


def build(name: str, dtype: Any = None) -> Any:
    """A model of that architecture, always the same; None where this transformers does not have it."""
    import torch
    import transformers

    config, values = ARCHITECTURES[name]
    kind = getattr(transformers, config, None)
    if kind is None:
        return None
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(kind(**values)).eval()
    model.generation_config.pad_token_id = 1
    return model if dtype is None else model.to(dtype)
