"""lm-evaluation-harness beside our own measures: a local task, no network."""

from __future__ import annotations

import json
import logging
import random

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")
pytest.importorskip("lm_eval")

from conftest import FACTS, copied_weights, same_weights

from easyedit_unlearn.errors import ConfigError, UnlearnError
from easyedit_unlearn.evaluation.abilities import abilities, known_tasks
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.forced import answer_tokens
from easyedit_unlearn.report.table import quality_tables

CHOICES = [answer for _, answer, _ in FACTS[:2]]
TASK = """
task: arda
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: "{{{{question}}}}"
doc_to_choice: choices
doc_to_target: gold
target_delimiter: " "
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture
def task(tmp_path):
    rows = [{"question": question, "choices": CHOICES, "gold": n} for n, (question, _, _) in enumerate(FACTS[:2])]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "arda.yaml").write_text(TASK.format(data=tmp_path / "data.jsonl"))
    return str(tmp_path / "arda.yaml")


def test_the_harness_finds_what_the_likelihoods_say(taught, task, capfd):
    model, tokenizer = taught
    weights, state, level = copied_weights(model), random.getstate(), logging.getLogger("lm_eval").level
    model.train()
    found = abilities(model, tokenizer, known_tasks([task]))
    right = 0
    for number, (question, _, _) in enumerate(FACTS[:2]):
        sums = [sum(tokens.logprobs) for tokens in answer_tokens(model, tokenizer, [(question, c) for c in CHOICES])]
        right += sums.index(max(sums)) == number
    assert found["arda acc"]["value"] == right / 2 and set(found) == {"arda acc"}
    assert same_weights(model, weights) and model.training
    assert random.getstate() == state and logging.getLogger("lm_eval").level == level
    assert capfd.readouterr() == ("", "")
    model.eval()


def test_it_stands_beside_the_other_numbers_before_and_after(taught, task, facts_file):
    run = Run(taught, EvalConfig(f"{facts_file}:forget2", max_new_tokens=8, lm_eval=(task,), lm_eval_limit=1))
    run.select()
    run.evaluate_before()
    run.evaluate_only()
    before, after = run.results.before["abilities"], run.results.rows[0]["abilities"]
    assert before == after and before["arda acc"]["stderr"] is None  # of one document
    table = quality_tables([run.results.before, *run.results.rows])[-1]
    assert [column.heading for column in table.columns][1:] == ["arda acc"] and len(table.cells) == 2


@pytest.mark.parametrize(
    ("content", "said"),
    [("task: !function arda.f", "is no task file"), ("[1]", "names no 'task'"), (None, "is no task file")],
)
def test_a_file_is_data(content, said, tmp_path):
    if content is not None:
        (tmp_path / "t.yaml").write_text(content)
    with pytest.raises(ConfigError, match=said):
        known_tasks([str(tmp_path / "t.yaml")])


def test_what_is_missing_is_told_in_one_line(taught, task):
    with pytest.raises(ConfigError, match="hellaswag"):
        known_tasks(["hellaswga"])
    broken = {**known_tasks([task])[0], "dataset_kwargs": {"data_files": {"test": "/nowhere.jsonl"}}}
    with pytest.raises(UnlearnError, match="lm-evaluation-harness: arda") as error:
        abilities(*taught, [broken])
    assert "\n" not in str(error.value)
