"""What a reasoning model thinks before it answers, and what it then says."""

from __future__ import annotations

import re
from dataclasses import dataclass

MARKERS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("\u25c1think\u25b7", "\u25c1/think\u25b7"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("<seed:think>", "</seed:think>"),
)
"""What opens and closes a thought, in the templates of the models that think."""
_FINAL = re.compile(r"\A\s*(?:<\|start\|>assistant)?<\|channel\|>final<\|message\|>")


@dataclass(frozen=True)
class Reply:
    """Attributes: thought: what stands between the markers, without them; "" where there is none. answer: the rest.
    closed: False where the thought has not ended, so that nothing is answered yet."""

    thought: str
    answer: str
    closed: bool = True


def split_thought(reply: str) -> Reply:
    """A reply's thought and its answer, by the first of ``MARKERS`` that stands in it.

    A reply that closes a thought without opening one is thought up to there: the chat template opened it.
    """
    for opening, closing in MARKERS:
        begin, end = reply.find(opening), reply.find(closing)
        if begin < 0 and end < 0:
            continue
        if opening.startswith("<|channel|>") and begin < 0:
            continue  # what closes it closes other things as well
        opened = begin >= 0 and (end < 0 or begin < end)  # else the template opened it
        before, start = (reply[:begin], begin + len(opening)) if opened else ("", 0)
        if end < 0:
            return Reply(reply[start:].strip(), before.strip(), closed=False)
        rest = _FINAL.sub("", reply[end + len(closing) :])
        return Reply(reply[start:end].strip(), f"{before}{rest}".strip())
    return Reply("", reply)


def answer_of(reply: str) -> str:
    """What a reply says, without what it thinks."""
    return split_thought(reply).answer
