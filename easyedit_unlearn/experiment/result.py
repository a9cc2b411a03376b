"""What ``unlearn`` gives back: the model, what it was and is, and the way back."""

from __future__ import annotations

import html
import tempfile
from pathlib import Path
from typing import Any

from easyedit_unlearn.errors import UnlearnError
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.experiment.saving import save_unlearned
from easyedit_unlearn.model.edits import Edit
from easyedit_unlearn.model.inference import generate_replies
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.report.pages import write_report
from easyedit_unlearn.report.table import cells, table_columns
from easyedit_unlearn.report.verdict import verdict
from easyedit_unlearn.results import Results, Row, measure
from easyedit_unlearn.storage import check_output
from easyedit_unlearn.types import ForgetSample, PreTrainedModel, PreTrainedTokenizerBase


class UnlearnResult:
    """An unlearned model and its measures. In a notebook it shows itself as a table.

    Attributes:
        model, tokenizer: unlearned, until ``undo()``; the very model that was given, where one was.
        before, after: the rows of the table, by column. samples: what was to be forgotten, with the answers taken.
        why: how the method was chosen. results: all of ``results.json``. edit: what changed.
        system_prompt: what must be said before every question, for a method that acts by its prompt; else None.
    """

    def __init__(self, run: Run, edit: Edit, why: str) -> None:
        self._run, self.edit, self.why = run, edit, why
        self.results: Results = run.results
        self.before: Row = run.results.before or {}
        self.after: Row = run.results.rows[-1]
        self._columns = table_columns(run.plugins.metrics)
        self.system_prompt = run.system_prompt
        self._undone = False

    @property
    def model(self) -> PreTrainedModel:
        return self._run.model

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        return self._run.tokenizer

    @property
    def samples(self) -> list[ForgetSample]:
        return list(self._run.selection.forget)

    @property
    def metrics(self) -> dict[str, dict[str, float | None]]:
        """By column of the table, the number ``before`` and ``after``; None where it is undefined."""
        keys = [column.key for column in self._columns if column.format != "text"]
        return {key: {"before": measure(self.before, key), "after": measure(self.after, key)} for key in keys}

    @property
    def verdict(self) -> str:
        """What came of it, in words."""
        return verdict(self.after) or ""

    def ask(self, question: str, *, max_new_tokens: int | None = None) -> str:
        """The greedy reply of the model as it is now."""
        config = self._run.config
        system = None if self._undone else self.system_prompt
        prompt = format_prompt(self.tokenizer, question, config.prompt, system=system)
        length = max_new_tokens or config.max_new_tokens
        return generate_replies(self.model, self.tokenizer, [prompt], max_new_tokens=length)[0]

    def save(self, folder: str | Path, *, overwrite: bool = False, record_questions: bool = False) -> Path:
        """An ordinary checkpoint with a model card and a record, ``unlearning.json``; what acts beside the weights, and
        what must be said before a question, lie in files of their own. The record names what was to be forgotten by
        hashes, or with ``record_questions`` in clear. Raises OutputExistsError, or UnlearnError after ``undo()``."""
        self._require_unlearned()
        check_output(Path(folder), overwrite=overwrite)
        save_unlearned(self._run, self.model, Path(folder), clear=record_questions)
        return Path(folder)

    def push_to_hub(self, repo_id: str, *, private: bool = True, **create: Any) -> str:
        """Upload what ``save`` writes, and give its address. ``create``: for ``HfApi.create_repo``, such as ``token``.

        Raises:
            UnlearnError: after ``undo()``. What huggingface_hub raises: no token, no network.
        """
        from huggingface_hub import HfApi

        self._require_unlearned()
        api = HfApi(token=create.pop("token", None))
        with tempfile.TemporaryDirectory() as folder:
            save_unlearned(self._run, self.model, Path(folder) / "model")
            api.create_repo(repo_id, private=private, exist_ok=True, **create)
            return str(api.upload_folder(repo_id=repo_id, folder_path=Path(folder) / "model"))

    def report(self, folder: str | Path) -> Path:
        """Write the report of ``easyedit-unlearn run``; also where an earlier one is."""
        write_report(self.results, Path(folder), self._run.plugins.metrics)
        return Path(folder) / "report.html"

    def undo(self) -> None:
        """The model is bitwise what it was; this result keeps its numbers.

        Raises:
            UnlearnError: the model was changed since (by a later ``unlearn``, say, which must be undone first).
        """
        if not self._undone:
            if not self.edit.stands(self.model):
                raise UnlearnError("the model was changed since; undo what came later first")
            self.edit.undo(self.model)
            self._undone = True

    def _require_unlearned(self) -> None:
        if self._undone:
            raise UnlearnError("this result was undone: the model is the one before; call unlearn again")

    def __repr__(self) -> str:
        lines = [f"UnlearnResult({self.after['label']}, {len(self.samples)} to forget)", self.verdict, self.why]
        width = max(len(column.heading) for column in self._columns)
        return "\n".join([*lines, *(f"{line[0]:{width}}  {'  '.join(line[1:])}" for line in self._lines())])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr>{''.join(f'<td>{html.escape(text)}</td>' for text in line)}</tr>" for line in self._lines()
        )
        return f"<p><b>{html.escape(self.verdict)}</b></p><p>{html.escape(self.why)}</p><table>{rows}</table>"

    def _lines(self) -> list[list[str]]:
        """A measure a line: heading, before, after."""
        table = cells([self.before, self.after], self._columns)
        return [[column.heading, *values] for column, *values in zip(self._columns, *table, strict=True)]
