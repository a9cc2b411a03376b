"""Costs on random Llamas of the shapes of 1 B and 8 B parameters in bfloat16: they know nothing, and cost the same.

    bash benchmarks/cuda.sh                                # on a machine with one CUDA device; at most eight minutes
    python benchmarks/on_cuda.py --device cpu --tiny          # anywhere, in a minute: does it run?

AlphaEdit on 20 and 100 facts, key statistics of five layers, NPO with LoRA: seconds and peak memory of each. What is
said by a random model says nothing, so no counts.
"""

from __future__ import annotations

import argparse
import gc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from easyedit_unlearn.components import no_progress
from easyedit_unlearn.editors.corpus import Corpus
from easyedit_unlearn.editors.statistics import key_moments
from easyedit_unlearn.experiment.requests import prepare
from easyedit_unlearn.experiment.resolve import for_model
from easyedit_unlearn.host.running import make_editor, run_edits, undone_after
from easyedit_unlearn.model.inference import plain_text
from easyedit_unlearn.model.structure import layer_names, mlp_output
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.storage import write_json
from easyedit_unlearn.tasks.facts import Facts
from easyedit_unlearn.types import ForgetSample, ModelPair

SHAPES: Mapping[str, Mapping[str, int]] = {
    "1 B": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 128_256},
    "8 B": {"hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
            "num_key_value_heads": 8, "vocab_size": 128_256},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 12, "num_attention_heads": 4,
             "num_key_value_heads": 4, "vocab_size": 1024},
}  # fmt: skip
TOKENS = 100_000


def random_llama(shape: Mapping[str, int], device: str) -> ModelPair:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=2048, tie_word_embeddings=False)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config).eval()
    finally:
        torch.set_default_dtype(before)
    return model, tokenizer_of_bytes()


def tokenizer_of_bytes() -> Any:
    """A token a byte, joined into frequent words: no download, and offsets as any fast tokenizer gives them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        [plain_text()], trainers.BpeTrainer(vocab_size=900, special_tokens=["<end>"], initial_alphabet=alphabet)
    )
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<end>", pad_token="<end>")  # noqa: S106


def facts(count: int) -> list[ForgetSample]:
    """The bundled ones, and the same about others where there are not enough."""
    own = [sample for sample in Facts().samples(Facts.Options()) if sample.subject]
    more = [_about_another(sample, f"{sample.subject} {n}") for n in range(1, count // len(own) + 1) for sample in own]
    return [*own, *more][:count]


def _about_another(sample: ForgetSample, name: str) -> ForgetSample:
    question = sample.question.replace(str(sample.subject), name)
    return replace(sample, id=f"{sample.id} {name}", question=question, subject=name)


class Costs:
    def __init__(self, device: str) -> None:
        self.cuda, self.rows = device.startswith("cuda"), list[dict[str, Any]]()

    def take(self, shape: str, what: str, do: Callable[[], Any]) -> None:
        gc.collect()
        if self.cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            held = torch.cuda.memory_allocated()
        start = perf_counter()
        do()
        if self.cuda:
            torch.cuda.synchronize()
        row: dict[str, Any] = {"model": shape, "what": what, "seconds": perf_counter() - start}
        if self.cuda:
            row |= {"peak_gb": torch.cuda.max_memory_allocated() / 1e9, "held_before_gb": held / 1e9}
        self.rows.append(row)


def unlearned(pair: ModelPair, method: str, count: int, overrides: Mapping[str, Any]) -> None:
    always = {"unlearn.engine": "native", "unlearn.native.corpus": "retain", "unlearn.answers": "dataset",
              "unlearn.prompt": "raw", "unlearn.native.passes": 1}  # fmt: skip
    hparams = for_model(method, pair, default_plugins(), {**always, **overrides})
    hparams.model_name = pair
    everything = facts(count + 20)
    with undone_after(pair[0], hparams, no_progress):
        editor = make_editor(hparams)
        made = prepare(editor, everything[:count], everything[count:], None)
        run_edits(editor, made.arguments, no_progress)


def measure(costs: Costs, shape: str, device: str, counts: tuple[int, ...]) -> None:
    pair = random_llama(SHAPES[shape], device)
    model, tokenizer = pair
    names = [mlp_output(model, layer) for layer in layer_names(model)[4:9]]
    text = Corpus([plain_text()] * 200, TOKENS if shape != "tiny" else 2_000)
    costs.take(
        shape,
        f"key statistics, 5 layers, {text.max_tokens:,} tokens",
        lambda: key_moments(model, tokenizer, names, text),
    )
    for count in counts:
        costs.take(shape, f"AlphaEdit, {count} facts", lambda count=count: unlearned(pair, "AlphaEdit", count, {}))
    short = {"rank": 8, "num_train_epochs": 1, "rounds": 1}
    costs.take(shape, "NPO, LoRA, 20 facts, one epoch", lambda: unlearned(pair, "NPO", 20, short))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    costs = Costs(given.device)
    for shape, counts in {"tiny": (2,)}.items() if given.tiny else {"1 B": (20, 100), "8 B": (20, 100)}.items():
        try:
            measure(costs, shape, given.device, counts)
        finally:
            if given.out:  # what was measured stays, whatever comes of the rest
                where = torch.cuda.get_device_name() if costs.cuda else "CPU"
                write_json(given.out, {"device": where, "torch": torch.__version__, "rows": costs.rows})
    table = Table("model", "what", "seconds", "peak GB", "held before")
    for row in costs.rows:
        memory = [f"{row[key]:.1f}" if key in row else "-" for key in ("peak_gb", "held_before_gb")]
        table.add_row(row["model"], row["what"], f"{row['seconds']:.1f}", *memory)
    Console().print(table)


if __name__ == "__main__":
    main()
