"""Key statistics of five layers over 400 short texts: one streaming pass, against EasyEdit's pass a layer.

    python benchmarks/key_statistics.py            # with EASYEDIT_HOME set, EasyEdit's own for one layer as well

Needs EASYEDIT_UNLEARN_DATA. Both take the same texts on the same machine, one after the other.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from time import perf_counter
from types import SimpleNamespace

import torch

from easyedit_unlearn.editors.corpus import DEFAULT, Corpus
from easyedit_unlearn.editors.statistics import key_moments
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.tasks.data import data_file

LAYERS, TEXTS, NAME = range(5, 10), 400, "model.layers.{}.mlp.down_proj"


def main() -> None:
    model, tokenizer = load_model("embedded")
    texts = list(Corpus.from_file(data_file("statistics", DEFAULT)).texts)[:TEXTS]
    start = perf_counter()
    ours = key_moments(model, tokenizer, [NAME.format(layer) for layer in LAYERS], Corpus(texts, 10**9))
    seconds = perf_counter() - start
    tokens = sum(len(tokenizer(text, add_special_tokens=False).input_ids) for text in texts)
    print(f"ours: {len(LAYERS)} layers, {len(texts)} texts, {tokens} tokens: {seconds:.1f} s")
    if not os.environ.get("EASYEDIT_HOME"):
        return
    start = perf_counter()
    theirs = host_moments(model, tokenizer, texts)
    one = perf_counter() - start
    apart = float((ours[NAME.format(LAYERS[0])] - theirs).norm() / theirs.norm())
    print(f"EasyEdit: 1 layer: {one:.1f} s, so {one * len(LAYERS) / seconds:.1f} times ours for all; {apart:.1%} apart")


def host_moments(model: torch.nn.Module, tokenizer: object, texts: list[str]) -> torch.Tensor:
    """EasyEdit's own statistics of the first layer, its data set replaced by the texts."""
    import easyedit_unlearn  # noqa: F401  before EasyEdit
    from easyedit_unlearn.host.running import import_host
    from easyedit_unlearn.host.session import host_module

    import_host()
    module = host_module("models.rome.layer_stats")
    module.load_dataset = lambda *_args: {"train": [{"text": text} for text in texts]}
    with tempfile.TemporaryDirectory() as folder:
        stat = module.layer_stats(
            model, tokenizer, NAME.format(LAYERS[0]), Path(folder), "wikipedia", ["mom2"], sample_size=len(texts),
            precision="float32", hparams=SimpleNamespace(device="cpu"),
        )  # fmt: skip
    return stat.mom2.moment().float()


if __name__ == "__main__":
    main()
