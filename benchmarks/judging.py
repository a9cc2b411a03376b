"""How long it takes to judge ten thousand replies: the labelled ones, each made different, so that none is remembered.

python benchmarks/judging.py
"""

from __future__ import annotations

import json
import time
from itertools import cycle, islice
from pathlib import Path

from easyedit_unlearn.evaluation.judging import gives_answer, is_babble, is_refusal

LABELLED = Path(__file__).parents[1] / "tests" / "data" / "replies.jsonl"


def main(count: int = 10_000) -> None:
    rows = [json.loads(line) for line in LABELLED.read_text(encoding="utf-8").splitlines()]
    start = time.perf_counter()
    for number, row in enumerate(islice(cycle(rows), count)):
        reply, answers = f"{row['reply']} ({number})", [*row["answers"], f"x{number}"]
        gives_answer(reply, row["question"], answers)
        is_refusal(reply, row["question"], answers)
        is_babble(reply, row["question"])
    print(f"{count} replies, three judgements each: {time.perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
