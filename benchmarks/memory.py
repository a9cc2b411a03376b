"""What it saves to ask the frozen model beforehand: NPO as shipped, against NPO that holds a second model to ask.

    python benchmarks/memory.py --out memory.json

Each version trains in a process of its own, on bundled facts and the embedded model. Memory is the highest
resident set of that process while it trains, whole and above what it was before the model was loaded; ratios are of
runs made one after the other on one machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from easyedit_unlearn import UnlearnHyperParams
from easyedit_unlearn.storage import write_json

_ITEM_BY_ITEM = {"gradient_checkpointing": True, "per_device_train_batch_size": 1, "gradient_accumulation_steps": 4}
_FIVE = {"layers": [5, 6, 7, 8, 9], "target_modules": ["down_proj"]}
SETTINGS = {
    "all weights": {},
    "LoRA": {"rank": 8},
    "LoRA, checkpointing": {"rank": 8, "gradient_checkpointing": True},
    "LoRA, checkpointing, item by item": {"rank": 8, **_ITEM_BY_ITEM},
    "five layers' MLP outputs": _FIVE,
    "five layers' MLP outputs, checkpointing, item by item": {**_FIVE, **_ITEM_BY_ITEM},
}
FACTS, RETAIN = 8, 16


class _Holding:
    """NPO's loss with the frozen model beside the trained one, asked anew in every step."""

    def __init__(self, model: Any, hparams: Any) -> None:
        self.frozen, self.hparams = copy.deepcopy(model).requires_grad_(False), hparams

    def __call__(self, model: Any, batch: Any) -> Any:
        import torch

        from easyedit_unlearn.baselines.answers import Answers
        from easyedit_unlearn.baselines.losses import npo
        from easyedit_unlearn.model.inference import answer_logits

        def answers(which: Any) -> list[Answers]:
            logits, labels = answer_logits(which, batch["input_ids"], batch["labels"], batch["attention_mask"])
            return [Answers.of(z, y) for z, y in zip(logits.chunk(2), labels.chunk(2), strict=True)]

        with torch.no_grad():
            before = answers(self.frozen)[0].logprob
        forget, retain = answers(model)
        return npo(forget.logprob, before, self.hparams.beta) + retain.mean_nll


def one(version: str, setting: str) -> dict[str, float]:
    """Train once, here."""
    import torch

    from easyedit_unlearn.baselines.dataset import UnlearnDataset
    from easyedit_unlearn.baselines.trainer import train
    from easyedit_unlearn.components import no_progress
    from easyedit_unlearn.experiment.measure import Measured
    from easyedit_unlearn.model.inference import pad_id
    from easyedit_unlearn.model.load import load_model
    from easyedit_unlearn.model.prompting import encode, format_prompt
    from easyedit_unlearn.tasks.facts import Facts

    torch.manual_seed(0)
    with Measured() as empty:
        pass
    given = {"alg_name": "NPO", "beta": 0.1, "num_train_epochs": 3, "per_device_train_batch_size": 4}
    hparams = UnlearnHyperParams.from_hparams("PO/smollm2-135m", overrides=given | SETTINGS[setting])
    model, tokenizer = load_model("embedded")
    samples = Facts().samples(None)[: FACTS + RETAIN]
    pairs = [(format_prompt(tokenizer, s.question), f"The answer is {s.answer}.") for s in samples]
    requests = [{"prompt": q, "ground_truth": a, "target_new": "No."} for q, a in pairs[:FACTS]]
    with Measured() as cost:
        if version == "asked beforehand":
            hparams.method.apply(model, tokenizer, requests, hparams, retain=pairs[FACTS:], progress=no_progress)
        else:
            data = UnlearnDataset(
                ("forget", "retain"),
                {"forget": encode(tokenizer, pairs[:FACTS]), "retain": encode(tokenizer, pairs[FACTS:])},
                0,
            )
            loss = _Holding(model, hparams)
            with hparams.method._moving(model, hparams) as names:
                train(model, data, loss, hparams, pad_id=pad_id(tokenizer), progress=no_progress, names=names)
    peak = cost.peak_memory_mb
    return {"seconds": cost.seconds, "peak_mb": peak, "above_empty_mb": peak - empty.peak_memory_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(json.dumps(one(*options.only)))
        return
    rows: list[dict[str, Any]] = []
    for setting in SETTINGS:
        found = {}
        for version in ("holding a second model", "asked beforehand"):
            command = [sys.executable, __file__, "--out", str(options.out), "--only", version, setting]
            done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            found[version] = json.loads(done.stdout.splitlines()[-1])
            rows.append({"setting": setting, "version": version, **found[version]})
        theirs, ours = found.values()
        ratios = {key: ours[key] / theirs[key] for key in ours}
        rows.append({"setting": setting, "version": "ratio", **ratios})
        print(setting, {key: round(value, 2) for key, value in ratios.items()}, flush=True)
    write_json(options.out, rows)


if __name__ == "__main__":
    main()
