"""zsRE as EasyEdit evaluates on it: questions with a rephrase, an unrelated one, and one that follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from easyedit_unlearn.components import Task
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.data import data_file, read_json_list
from easyedit_unlearn.tasks.factual import DataOptions
from easyedit_unlearn.types import ForgetSample

FILE = "zsre/zsre_mend_eval_portability_gpt4.json"
_NATURAL_QUESTIONS = "nq question: "


class _Portability(BaseModel):
    question: str = Field(alias="New Question", min_length=1)
    answer: str = Field(alias="New Answer", min_length=1)


class _Row(BaseModel):
    subject: str = Field(min_length=1)
    src: str = Field(min_length=1)
    answers: list[str] = Field(min_length=1)
    alt: str
    rephrase: str = Field(min_length=1)
    loc: str
    loc_ans: str
    portability: _Portability


class ZsRE(Task):
    """The answer is the true one (``answers``), not EasyEdit's counterfactual ``alt``, which stands in the extras with
    ``locality`` and ``portability``, each a question and its answer. The latter follows from ``alt``."""

    name = "zsre"
    Options = DataOptions

    def samples(self, options: DataOptions) -> Sequence[ForgetSample]:
        path = data_file(self.name, FILE, options.data_dir)
        return [_sample(n, row, f"{path}, item {n}") for n, row in enumerate(read_json_list(path))]


def _sample(number: int, row: Mapping[str, Any], place: str) -> ForgetSample:
    try:
        read = _Row.model_validate(row)
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{place}: field '{'.'.join(map(str, first['loc']))}': {first['msg']}") from None
    return ForgetSample(
        id=f"zsre-{number}",
        question=read.src,
        answer=read.answers[0],
        aliases=tuple(dict.fromkeys(read.answers[1:])),
        subject=read.subject if read.src.count(read.subject) == 1 else None,
        rephrases=(read.rephrase,),
        extras={
            "alternative": read.alt,
            "locality": {"question": read.loc.removeprefix(_NATURAL_QUESTIONS), "answer": read.loc_ans},
            "portability": {"question": read.portability.question, "answer": read.portability.answer},
        },
    )
