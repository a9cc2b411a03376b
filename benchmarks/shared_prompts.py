"""Several answers to one question: the prompt run once for all of them, against every pair on its own.

    python benchmarks/shared_prompts.py

TOFU's forty questions of forget01 with seven answers each, on the embedded model. Needs EASYEDIT_UNLEARN_DATA.
"""

from __future__ import annotations

from time import perf_counter

from easyedit_unlearn.evaluation.questions import published_answers
from easyedit_unlearn.model import forced
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.tasks.splits import load, parse_source


def main() -> None:
    model, tokenizer = load_model("embedded")
    samples = load(parse_source("tofu", default_plugins().tasks))
    pairs = [(format_prompt(tokenizer, s.question), text) for s in samples for text in published_answers(s)]
    found, seconds = [], []
    for share in (forced.SHARED, len(pairs) + 1):
        forced.SHARED = share
        start = perf_counter()
        found.append(forced.answer_tokens(model, tokenizer, pairs))
        seconds.append(perf_counter() - start)
    apart = max(
        abs(a - b) for one, other in zip(*found, strict=True) for a, b in zip(one.logprobs, other.logprobs, strict=True)
    )
    print(
        f"{len(pairs)} pairs: shared {seconds[0]:.1f} s, apart {seconds[1]:.1f} s, ratio {seconds[0] / seconds[1]:.2f}"
    )
    print(f"largest difference of a token's log-probability: {apart:.1e}")


if __name__ == "__main__":
    main()
