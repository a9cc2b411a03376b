"""How long things take, as ratios of runs made one after the other in one process: ours with products in bfloat16 and
in float32, with EASYEDIT_HOME against EasyEdit's main branch; cost per fact; training; answering; key statistics.

    python benchmarks/speed.py --out speed.json                          # SmolLM2, twenty facts, some ten minutes
    python benchmarks/speed.py --model embedded:qwen2.5-coder-1.5b       # any model that knows the facts
    python benchmarks/speed.py --tiny                                    # two bundled facts: does it run?

Needs EASYEDIT_UNLEARN_DATA (``factual``, the statistics' corpus), except with --tiny. Statistics are computed before
the clock starts, so that editors are timed warm; ``statistics`` times them cold.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from easyedit_unlearn.components import no_progress
from easyedit_unlearn.editors.corpus import Corpus
from easyedit_unlearn.editors.statistics import key_moments
from easyedit_unlearn.evaluation.judging import gives_answer, is_refusal
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.measure import Measured
from easyedit_unlearn.experiment.requests import prepare
from easyedit_unlearn.experiment.resolve import for_model
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.host.running import make_editor, run_edits, undone_after
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.model.structure import layer_names, mlp_output
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.storage import write_json
from easyedit_unlearn.types import ModelPair, Selection

NATIVE = {"unlearn.engine": "native"}
SLOW = {**NATIVE, "unlearn.native.products": "float32"}
HOST = {"unlearn.engine": "host"}
GROWTH = (1, 5, 20)


@dataclass
class Cost:
    """Seconds and peak memory of one thing done, and what came of it."""

    name: str
    seconds: float
    peak_mb: float
    of: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


class Speed:
    """Everything is done on one model with one selection of facts."""

    def __init__(self, pair: ModelPair, whole: Selection, always: Mapping[str, Any]) -> None:
        self.pair, self.whole, self.always, self.costs = pair, whole, always, list[Cost]()

    def edit(self, name: str, method: str, overrides: Mapping[str, Any], count: int | None = None) -> None:
        """Unlearn the first ``count`` facts, all by default; the answers afterwards are not in the seconds."""
        forget = self.whole.forget[:count]
        hparams = for_model(method, self.pair, default_plugins(), {**self.always, **overrides})
        hparams.model_name = self.pair
        with undone_after(self.pair[0], hparams, no_progress):
            editor = make_editor(hparams)
            with Measured() as cost:
                made = prepare(editor, forget, self.whole.retain or None, None)
                run_edits(editor, made.arguments, no_progress)
            replies = self.ask([sample.question for sample in forget], editor.model)
        pairs = list(zip(forget, replies, strict=True))
        said = {
            "given": sum(gives_answer(reply, s.question, s.answers) for s, reply in pairs),
            "refused": sum(is_refusal(reply, s.question, s.answers) for s, reply in pairs),
            "attainment": editor.unlearning_state.get("attainment"),
        }
        self.costs.append(Cost(name, cost.seconds, cost.peak_memory_mb, f"{len(forget)} facts", said))

    def ask(self, questions: Sequence[str], model: Any = None) -> list[str]:
        model, tokenizer = model or self.pair[0], self.pair[1]
        return generate_replies(model, tokenizer, [format_prompt(tokenizer, one) for one in questions])

    def time(self, name: str, of: str, do: Callable[[], Any]) -> Any:
        with Measured() as cost:
            result = do()
        self.costs.append(Cost(name, cost.seconds, cost.peak_memory_mb, of))
        return result


def measured(speed: Speed, host: bool, corpus: Corpus | None) -> Iterator[str]:
    """Does one thing after the other; says what comes next."""
    model, tokenizer = speed.pair
    count = len(speed.whole.forget)
    for method in ("AlphaEdit", "WISE", "MEMIT"):
        yield f"{method}, warming its statistics"
        speed.edit("warming", method, NATIVE, 1)
        speed.costs.pop()
        for label, overrides in (("auto", NATIVE), ("float32", SLOW)):
            yield f"{method}, products {label}"
            speed.edit(f"{method}, products {label}", method, overrides)
        if host and method != "MEMIT":
            yield f"{method}, EasyEdit"
            speed.edit(f"{method}, EasyEdit", method, HOST, min(count, 5))
    for size in (size for size in GROWTH if size < count):
        yield f"AlphaEdit, {size} facts"
        speed.edit(f"AlphaEdit, {size} facts", "AlphaEdit", NATIVE, size)
    for label, overrides in (("auto", {}), ("float32", {"unlearn.native.products": "float32"})):
        yield f"NPO, products {label}"
        short = {"num_train_epochs": 1, "rounds": 1, **overrides}
        speed.edit(f"NPO, one epoch, products {label}", "NPO", short)
    questions = [sample.question for sample in (*speed.whole.forget, *speed.whole.retain, *speed.whole.holdout)]
    yield "answering"
    speed.time("answering", f"{len(questions)} questions, 48 tokens", lambda: speed.ask(questions))
    if corpus is not None:
        names = [mlp_output(model, layer) for layer in layer_names(model)[5:10] or layer_names(model)[:1]]
        yield "key statistics"
        of = f"{len(names)} layers, {corpus.max_tokens:,} tokens"
        speed.time("key statistics, cold", of, lambda: key_moments(model, tokenizer, names, corpus))


def matmul_rate(dtype: torch.dtype, size: int = 1024, seconds: float = 0.5) -> float:
    """10^9 multiply-adds twice over, a second, of square products: the machine's limit."""
    a, b = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    a @ b
    start, times = perf_counter(), 0
    while perf_counter() - start < seconds:
        a @ b
        times += 1
    return 2 * size**3 * times / (perf_counter() - start) / 1e9


def show(console: Console, costs: Sequence[Cost]) -> None:
    table = Table("what", "of", "seconds", "peak MB", "what came of it")
    for one in costs:
        said = ", ".join(f"{key} {value:.4g}" for key, value in one.result.items() if value is not None)
        table.add_row(one.name, one.of, f"{one.seconds:.1f}", f"{one.peak_mb:.0f}", said)
    console.print(table)
    for line in ratios(costs):
        console.print(line)


def ratios(costs: Sequence[Cost]) -> list[str]:
    """Of what was done in two ways, a fact for a fact."""
    a_fact = {one.name: one.seconds / max(int(one.of.split()[0]), 1) for one in costs if one.of.endswith("facts")}
    found = []
    for name, seconds in a_fact.items():
        method, _, how = name.partition(", products ")
        for other in (f"{method}, products float32", f"{method}, EasyEdit"):
            if how == "auto" and other in a_fact:
                found.append(f"{name} / {other}: {seconds / a_fact[other]:.3f} of the seconds a fact")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--device")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--facts", type=int, default=20)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tiny", action="store_true", help="the bundled facts and few of them: does it run?")
    given = parser.parse_args()
    console = Console(stderr=True)
    pair = load_model(given.model, **({"device": given.device} if given.device else {}), dtype=given.dtype)
    task, count = ("facts", 2) if given.tiny else ("factual", given.facts)
    rest = ("10", "10") if given.tiny else ("", "")
    config = EvalConfig(f"{task}:forget{count}", f"{task}:retain{rest[0]}", f"{task}:holdout{rest[1]}", remember=True)
    speed = Speed(pair, Run(pair, config).select(), {"unlearn.native.corpus": "retain"} if given.tiny else {})
    for what in measured(speed, bool(os.environ.get("EASYEDIT_HOME")), None if given.tiny else _corpus(65_536)):
        console.print(what, style="dim")
    show(Console(), speed.costs)
    rates = {str(dtype): matmul_rate(dtype) for dtype in (torch.float32, torch.bfloat16)}
    Console().print(", ".join(f"{name}: {rate:.0f} GFLOP/s" for name, rate in rates.items()))
    if given.out:
        about = {"threads": torch.get_num_threads(), "device": str(pair[0].device), "rates": rates}
        write_json(given.out, {**about, "costs": [vars(one) for one in speed.costs], "ratios": ratios(speed.costs)})


def _corpus(tokens: int) -> Corpus:
    from easyedit_unlearn.editors.corpus import DEFAULT
    from easyedit_unlearn.tasks.data import data_file

    return Corpus.from_file(data_file("statistics", DEFAULT), tokens)


if __name__ == "__main__":
    main()
