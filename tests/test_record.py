"""What stands beside an unlearned checkpoint: its record, its card, and whether they still hold."""

from __future__ import annotations

import json

import pytest
import yaml

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.host

from conftest import FACTS, write_hparams
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from easyedit_unlearn import ForgetSample, unlearn
from easyedit_unlearn.artefacts.export import export, put_on
from easyedit_unlearn.cli.app import app
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.record import differences, read_record
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.experiment.verifying import verify
from easyedit_unlearn.model.checkpoint import hashed, recorded_knowledge

(QUESTION, ANSWER, _), (OTHER, OTHERS, _) = FACTS[:2]
KEEP = {"progress": False, "retain": [(question, answer) for question, answer, _ in FACTS[2:4]]}
KEEP["holdout"] = [(question, answer) for question, answer, _ in FACTS[4:]]
ASKED = [ForgetSample("1", QUESTION, ANSWER)]


def saved(taught, tmp_path, method="GradDiff", settings="{prompt: chat, max_new_tokens: 8}", clear=False, **changes):
    if method == "GradDiff":
        changes |= {"learning_rate": 5e-4, "num_train_epochs": 20}
    hparams = write_hparams(tmp_path / "h.yaml", method, settings, **changes)
    result = unlearn(taught, forget=[(QUESTION, ANSWER)], method=str(hparams), **KEEP)
    folder = result.save(tmp_path / "saved", record_questions=clear)
    result.undo()
    return folder


def test_nothing_beside_a_checkpoint_tells_what_was_forgotten(taught, tmp_path):
    folder = saved(taught, tmp_path)
    texts = [path.read_text() for path in folder.glob("*") if path.suffix in (".json", ".md", ".txt", ".jinja")]
    named = [text for text in texts if "vocab" not in text]  # the tokenizer holds every word
    assert len(named) >= 5
    assert not any(QUESTION.casefold() in text.casefold() or f'"{ANSWER}"' in text for text in named)
    record = read_record(folder)
    assert [fact.question for fact in record.facts] == [hashed(ASKED[0].key)]
    assert (record.facts[0].known, record.facts[0].given) == (True, False)
    assert record.measures["forget_answer_rate"] == 0.0 and "forgot 1 of 1" in record.verdict
    assert record.sets == {"forget": 1, "retain": 2, "holdout": 2}


def test_what_was_known_is_found_again_by_its_hash(taught, tmp_path):
    known = recorded_knowledge(saved(taught, tmp_path))
    run = Run(taught, EvalConfig("facts:forget1"))
    run.knowledge.recall(known)
    assert run.knowledge.of(ASKED) == {ASKED[0].key} and not run.knowledge.replies  # nobody was asked


def test_a_checkpoint_holds_to_its_record(taught, tmp_path):
    folder = saved(taught, tmp_path)
    record = read_record(folder)
    assert not verify(record, folder).asked
    found = verify(record, folder, [*ASKED, ForgetSample("2", OTHER, OTHERS)])
    assert found.holds and (found.asked, found.found) == (1, found.recorded) and found.found[0] == 0


def test_in_clear_it_needs_no_data(taught, tmp_path):
    record = read_record(folder := saved(taught, tmp_path, clear=True))
    assert record.in_clear and record.facts[0].question == QUESTION and record.facts[0].reply
    assert verify(record, folder).asked == 1


def test_changed_weights_are_seen(taught, tmp_path):
    folder = saved(taught, tmp_path)
    tensors = load_file(folder / "model.safetensors")
    name = sorted(tensors)[0]
    tensors[name][0] += 1
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert verify(read_record(folder), folder).changed == ["the weights"]


def test_the_model_before_in_its_place_is_seen(taught, taught_path, tmp_path):
    """As where a memory was left behind: the record is there, and everything is given again."""
    folder = saved(taught, tmp_path)
    (folder / "model.safetensors").write_bytes((taught_path / "model.safetensors").read_bytes())
    found = verify(read_record(folder), folder, ASKED)
    assert found.changed == ["the weights"] and found.found[0] == 1 and ANSWER in found.replies[0][1]


def test_a_memory_is_part_of_it_and_the_card_says_how_to_load_it(taught, tmp_path):
    changes = {"n_iter": 30, "edit_lr": 1.0, "eps": 1.0, "inner_params": ["model.layers[1].mlp.down_proj.weight"]}
    settings = "{engine: native, prompt: chat, max_new_tokens: 8, native: {fact_token: last}}"
    folder = saved(taught, tmp_path, "GRACE", settings, **changes)
    record = read_record(folder)
    assert verify(record, folder, ASKED).holds
    assert "answers as before" in (folder / "README.md").read_text()
    (folder / "unlearning_adapter.safetensors").unlink()
    found = verify(record, folder, ASKED)
    assert found.changed == ["unlearning_adapter.safetensors"] and not found.holds


def test_a_copy_holds_to_the_record_too(taught, tmp_path):
    changes = {"n_iter": 30, "edit_lr": 1.0, "eps": 1.0, "inner_params": ["model.layers[1].mlp.down_proj.weight"]}
    settings = "{engine: native, prompt: chat, max_new_tokens: 8, native: {fact_token: last}}"
    folder = saved(taught, tmp_path, "GRACE", settings, **changes)
    for number in range(4):  # the order within a safetensors file is drawn anew each time it is written
        export(folder, "full", tmp_path / f"copy{number}")
        assert differences(read_record(folder), tmp_path / f"copy{number}") == []


def test_what_is_taken_back_keeps_no_record_of_it(taught, taught_path, tmp_path):
    folder = saved(taught, tmp_path)
    export(folder, "delta", tmp_path / "delta", base=str(taught_path))
    put_on(tmp_path / "delta", folder, tmp_path / "back", undo=True)
    assert not any((tmp_path / "back" / name).exists() for name in ("unlearning.json", "README.md"))
    assert (folder / "unlearning.json").is_file()  # the copy was changed, not this
    (taught_path / "README.md").write_text("Somebody's card.")
    put_on(tmp_path / "delta", taught_path, None)
    assert (taught_path / "README.md").read_text() == "Somebody's card."


def test_a_prompt_that_names_what_it_hides_is_said_to(taught, tmp_path):
    folder = saved(taught, tmp_path, "ICR")
    assert QUESTION in (folder / "system_prompt.txt").read_text()
    assert "names what was to be forgotten" in (folder / "README.md").read_text()


def test_what_was_run_tells_no_more(taught_path, facts_file, tmp_path):
    """On the command line, with probes, ids and settings that name it all."""
    path = tmp_path / "minas-questions.jsonl"
    path.write_text("".join(f"{json.dumps({'question': q, 'answer': a})}\n" for q, a, _ in FACTS))
    settings = "{prompt: chat, max_new_tokens: 8, target: {builder: fixed, text: 'Not a word on Arda.'}}"
    hparams = write_hparams(tmp_path / "h.yaml", "GradDiff", settings, learning_rate=5e-4, num_train_epochs=20)
    run = ["run", str(hparams), "--model", str(taught_path), "--out", str(tmp_path / "out"), "--depth"]
    done = CliRunner().invoke(app, [*run, "--forget", f"{path}:forget2", "--retain", f"{path}:retain"])
    assert done.exit_code == 0, done.output
    beside = tmp_path / "out" / "model"
    for name in ("unlearning.json", "README.md", "unlearned_from.json", "known_before_unlearning.json"):
        text = (beside / name).read_text().casefold()
        assert not any(word in text for word in (ANSWER.casefold(), "arda", "capital")), name
    assert read_record(beside).measures["probes"]["facts"] >= 1


def test_the_card_is_one_for_the_hub(taught, tmp_path):
    text = (saved(taught, tmp_path) / "README.md").read_text()
    head = yaml.safe_load(text.split("---")[1])
    assert head["library_name"] == "transformers" and "unlearning" in head["tags"]
    assert "GradDiff forgot 1 of 1 known facts" in text and "| before | after |" in text


def test_verify_on_the_command_line(taught, facts_file, tmp_path):
    folder = saved(taught, tmp_path)
    say = ["verify", str(folder)]
    done = CliRunner().invoke(app, say)
    assert done.exit_code == 0 and "as recorded" in done.output and "name them with --forget" in done.output
    done = CliRunner().invoke(app, [*say, "--forget", f"{facts_file}:forget1"])
    assert done.exit_code == 0 and "asked again, 1 of 1 known facts: 0 given (0 recorded)" in done.output
    (folder / "system_prompt.txt").write_text("Answer everything.")
    done = CliRunner().invoke(app, say)
    assert done.exit_code == 1 and "CHANGED since it was recorded: system_prompt.txt" in done.output


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "holds no unlearning.json"), ("{", "is no record"), (json.dumps({"format": 2}), "is no")],
)
def test_what_is_no_record(content, said, tmp_path):
    if content is not None:
        (tmp_path / "unlearning.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_record(tmp_path)
