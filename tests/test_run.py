"""Whole commands on a tiny taught model, through EasyEdit: results, files, failures, interrupts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights, write_hparams

from easyedit_unlearn import Asked, ForgetSample, UnlearnHyperParams, evaluate
from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.experiment.config import EvalConfig
from easyedit_unlearn.experiment.run import Run
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.storage import MANIFEST
from easyedit_unlearn.tasks.given import GivenSamples

ROW = """
    method host engine model seed n_forget n_known forget_answer_rate forget_rougeL forget_refusal_rate
    rephrase_answer_rate rephrase_refusal_rate retain_answer_rate retain_rougeL retain_refusal_rate holdout_answer_rate
    holdout_refusal_rate ppl_before ppl_after seconds peak_memory_mb versions
    """.split()


def start(*arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "easyedit_unlearn", *map(str, arguments)], text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, **environment},
    )  # fmt: skip


def cli(*arguments, **environment):
    process = start(*arguments, **environment)
    process.stdout_text, process.stderr_text = process.communicate(timeout=240)
    return process


def sets(facts_file, forget="forget2"):
    return [
        "--forget",
        f"{facts_file}:{forget}",
        "--retain",
        f"{facts_file}:retain",
        "--holdout",
        f"{facts_file}:holdout",
    ]


@pytest.fixture
def graddiff(tmp_path):
    return write_hparams(
        tmp_path / "g.yaml", "GradDiff", learning_rate=5e-4, num_train_epochs=20, per_device_train_batch_size=2
    )


def test_a_growing_forget_set_ends_where_one_sequence_does(facts_file, taught, tmp_path):
    weights = copied_weights(taught[0])
    parts = (f"{facts_file}:{part}" for part in ("forget4", "retain", "holdout"))
    run = Run(taught, EvalConfig(*parts, max_new_tokens=12))
    run.select()
    settings = "{engine: native, mode: sequential}"
    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "r.yaml", "ROME", settings, kl_factor=0))
    rows = list(run.growing(hparams, [1, 4]))
    assert [(row["n_forget"], row["n_requests"], row["n_retain"]) for row in rows] == [(1, 1, 1), (4, 4, 1)]
    assert rows[0]["seconds"] < rows[1]["seconds"]
    with run.unlearned(hparams):
        assert not same_weights(taught[0], weights)
    whole = run.results.rows[-1]
    for key in ("forget_answer_prob", "retain_answer_prob", "ppl_after"):
        assert rows[1][key] == pytest.approx(whole[key], rel=1e-4)
    assert len(run.selection.forget) == 4
    for _ in run.growing(hparams, [1, 4]):
        break  # a caller who has seen enough leaves nothing behind
    assert same_weights(taught[0], weights)
    hparams.unlearn = replace(hparams.unlearn, mode="batch")
    with pytest.raises(ConfigError, match="edited in sequence"):
        next(run.growing(hparams, [1]))


def test_run_forgets_saves_and_reports(graddiff, facts_file, taught_path, tmp_path):
    out = tmp_path / "out"
    arguments = ["run", graddiff, *sets(facts_file), "--model", taught_path, "--out", out]
    done = cli(*arguments)
    assert done.returncode == 0, done.stderr_text
    assert sorted(p.name for p in out.iterdir()) == [
        "charts",
        MANIFEST,
        "model",
        "report.html",
        "report.md",
        "results.csv",
        "results.json",
        "samples.jsonl",
    ]
    results = json.loads((out / "results.json").read_text())
    lines = (out / "samples.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == results["samples"]
    (row,) = results["rows"]
    assert set(ROW) <= set(row)
    assert (row["method"], row["engine"], row["n_forget"], row["n_known"]) == ("GradDiff", "native", 2, 2)
    assert results["before"]["forget_answer_rate"] == 1.0
    assert row["forget_answer_rate"] < 1.0
    assert row["seconds"] > 0
    assert row["peak_memory_mb"] > 50
    assert results["status"] == "complete"
    forgotten = [s for s in results["samples"] if s["group"] == "forget"]
    assert [s["question"] for s in forgotten] == [q for q, _, _ in FACTS[:2]]
    assert [s["before"] for s in forgotten] == [f"{a}." for _, a, _ in FACTS[:2]]
    assert all(s["target"] is None and s["after"] != s["before"] for s in forgotten)  # GradDiff trains on no refusals
    assert {s["group"] for s in results["samples"]} == {"forget", "rephrase", "retain", "holdout"}
    assert "still given" in done.stdout_text

    model, tokenizer = load_model(out / "model")  # an ordinary checkpoint
    from easyedit_unlearn.model.inference import generate_replies
    from easyedit_unlearn.model.prompting import format_prompt

    assert generate_replies(model, tokenizer, [format_prompt(tokenizer, FACTS[0][0])])[0] == forgotten[0]["after"]

    # the unlearned checkpoint is asked about what was known before, not about what it still knows
    checked = cli("evaluate", "--model", out / "model", *sets(facts_file), "--out", tmp_path / "check")
    assert checked.returncode == 0, checked.stderr_text
    (seen,) = json.loads((tmp_path / "check" / "results.json").read_text())["rows"]
    for key in ("n_forget", "n_known", "forget_answer_rate", "retain_answer_rate", "holdout_answer_rate", "ppl_after"):
        assert seen[key] == row[key], key
    assert "note:" not in checked.stderr_text

    again = cli(*arguments)
    assert (again.returncode, "--overwrite" in again.stderr_text) == (2, True)
    assert json.loads((out / "results.json").read_text()) == results
    bad = cli("run", graddiff, *sets(facts_file, "forget9"), "--model", taught_path, "--out", out, "--overwrite")
    assert bad.returncode == 2
    assert json.loads((out / "results.json").read_text()) == results  # a run that cannot start changes nothing
    assert cli(*arguments, "--overwrite").returncode == 0


def test_a_run_says_what_is_hidden_and_what_is_forgotten(graddiff, facts_file, taught_path, tmp_path):
    out = tmp_path / "out"
    done = cli("run", graddiff, *sets(facts_file), "--model", taught_path, "--out", out, "--attacks", "--depth")
    assert done.returncode == 0, done.stderr_text
    (row,) = json.loads((out / "results.json").read_text())["rows"]
    found = row["probes"]
    assert found["facts"] == round(2 * (1 - row["forget_answer_rate"])) > 0
    assert found["hidden"] + found["forgotten"] == found["facts"] == found["back"]["int8"]["of"]
    change = row["change"]["answer_rate"]["forget"]
    assert change["difference"] == pytest.approx(row["forget_answer_rate"] - 1)
    assert change["n"] == 2
    assert found["hidden"] == sum(bool(names) for names in found["samples"].values())
    assert f"{found['hidden']} hidden" in " ".join(done.stdout_text.split())
    assert "what brings facts back" in done.stdout_text


def test_a_lora_run_saves_its_adapters_beside_the_checkpoint(facts_file, taught_path, tmp_path):
    peft = pytest.importorskip("peft")
    values = {"learning_rate": 5e-3, "num_train_epochs": 10, "per_device_train_batch_size": 2, "rank": 2}
    path, out = write_hparams(tmp_path / "g.yaml", "GradDiff", **values), tmp_path / "out"
    done = cli("run", path, *sets(facts_file), "--model", taught_path, "--out", out)
    assert done.returncode == 0, done.stderr_text
    assert "adapter/" in done.stdout_text
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # PEFT's, of transformers
        adapted = peft.PeftModel.from_pretrained(load_model(taught_path)[0], out / "adapter")
        assert torch.allclose(adapted(ids).logits, load_model(out / "model")[0](ids).logits, atol=1e-4)


def test_a_method_that_diverges_gets_a_row_that_says_so(facts_file, taught_path, tmp_path):
    path = write_hparams(tmp_path / "g.yaml", "GradDiff", max_retain_nll=1e-4)
    done = cli("run", path, *sets(facts_file), "--model", taught_path, "--out", tmp_path / "out")
    assert (done.returncode, "max_retain_nll" in done.stderr_text) == (2, True)
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (row,) = results["rows"]
    assert (row["label"], row["forget_answer_rate"], results["status"]) == ("GradDiff: stopped", None, "failed")
    assert "the model is as it was" in row["stopped"]
    assert "GradDiff: stopped" in (tmp_path / "out" / "report.md").read_text()


def test_a_text_beyond_the_models_context_is_told_before_anything_is_asked(taught, monkeypatch):
    from easyedit_unlearn.experiment import knowledge

    monkeypatch.setattr(knowledge, "ask_all", lambda *_args, **_kwargs: pytest.fail("asked"))
    question, answer, _ = FACTS[0]
    for words in ({"question": f"{question} {'So? ' * 4000}"}, {"question": question, "rephrases": ["Why? " * 4000]}):
        source = GivenSamples.source([ForgetSample("long-1", answer=answer, **words)])
        with pytest.raises(
            DataError, match="sample long-1: .*tokens, and with the reply more than the model's context"
        ):
            Run(taught, EvalConfig(source)).select()


def test_rome_through_easyedit(facts_file, taught_path, tmp_path):
    hparams = write_hparams(tmp_path / "r.yaml", "ROME")
    done = cli("run", hparams, *sets(facts_file), "--model", taught_path, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr_text
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert row["engine"] == "host"
    assert row["host"].split()[0] in ("release", "main")
    assert row["forget_answer_rate"] < 1.0
    assert "Executing ROME" not in done.stdout_text  # EasyEdit's own prints stay out of the report


def test_evaluate_a_checkpoint(facts_file, taught_path, tmp_path):
    done = cli("evaluate", "--model", taught_path, *sets(facts_file), "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr_text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (row,) = results["rows"]
    assert set(ROW) <= set(row)
    assert row["forget_answer_rate"] == row["retain_answer_rate"] == 1.0
    assert results["samples"][0]["after"] == f"{FACTS[0][1]}."
    assert "--reference" in done.stderr_text
    assert "as it stands" in (tmp_path / "out" / "report.html").read_text()


def test_evaluate_with_further_groups_and_a_reference(facts_file, taught_path, tmp_path):
    """Two checkpoints asked the same: the one that knows nothing is the reference of the other."""
    wrong = [{"question": f"{q} Really?", "answer": a, "perturbed_answer": ["Bo", "Cy"]} for q, a, _ in FACTS]
    further, forget = tmp_path / "further.jsonl", tmp_path / "forget.jsonl"
    further.write_text("\n".join(map(json.dumps, wrong[:3])))
    forget.write_text("\n".join(json.dumps(row | {"question": q}) for row, (q, _, _) in zip(wrong, FACTS, strict=True)))
    model, tokenizer = load_model(taught_path)
    torch.manual_seed(1)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    model.save_pretrained(tmp_path / "blank")
    tokenizer.save_pretrained(tmp_path / "blank")
    asked = ["--forget", f"{forget}:first4", "--also", f"world_facts={further}", "--max-new-tokens", "8"]
    log = tmp_path / "log.json"
    made = cli("evaluate", "--model", tmp_path / "blank", *asked, "--as-reference", log)
    assert made.returncode == 0, made.stderr_text
    assert "undefined without a reference: forget_quality, mia_reference_auc, privleak" in made.stdout_text
    again = cli("evaluate", "--model", tmp_path / "blank", *asked, "--as-reference", log)
    assert (again.returncode, "--overwrite" in again.stderr_text) == (2, True)
    done = cli("evaluate", "--model", taught_path, *asked, "--retain-log", log, "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr_text
    (row,) = json.loads((tmp_path / "out" / "results.json").read_text())["rows"]
    assert set(row["means"]["answer_prob"]) == {"forget", "world_facts"}
    assert row["means"]["truth_ratio"]["forget"]["n"] == 4
    assert row["means"]["prob_normalised"]["forget"]["mean"] > 0.9
    assert 0 < row["overall"]["forget_quality"] < 0.1  # four ratios near 0 against four near 1
    assert row["overall"]["privleak"] is None  # there is no holdout set
    other = cli("evaluate", "--model", taught_path, "--forget", f"{forget}:first3", "--retain-log", log)
    assert (other.returncode, "--as-reference" in other.stderr_text) == (2, True)
    with pytest.raises(ConfigError, match="not its own reference"):
        Asked(str(forget), as_reference=log, retain_log=log)
    with pytest.raises(ConfigError, match="'retain': names a further group"):
        Asked(str(forget), also={"retain": "x"})
    same = Asked(f"{forget}:first4", also={"world_facts": str(further)}, max_new_tokens=8)
    found = evaluate(*load_model(taught_path), same)
    assert found.rows[0]["means"]["answer_prob"]["forget"]["n"] == 4
    assert found.rows[0]["n_known"] == 4


def test_two_processes_evaluate_as_one_does(facts_file, taught_path, tmp_path):
    asked = ["evaluate", "--model", taught_path, *sets(facts_file), "--max-new-tokens", "8", "--out"]
    alone = cli(*asked, tmp_path / "one")
    assert alone.returncode == 0, alone.stderr_text
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "--standalone", "-m"]
    done = subprocess.run(
        [*launch, "easyedit_unlearn", *map(str, asked), str(tmp_path / "two")], text=True, capture_output=True,
        timeout=240, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Over all samples") == 1  # one of them prints
    one, two = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two"))
    assert [s["after"] for s in two["samples"]] == [s["after"] for s in one["samples"]]
    for metric, groups in one["rows"][0]["means"].items():
        for group, found in groups.items():
            mean = two["rows"][0]["means"][metric][group]["mean"]
            assert mean == (found["mean"] if found["mean"] is None else pytest.approx(found["mean"], rel=1e-4)), metric


def write_facts(path, *facts):
    path.write_text("\n".join(json.dumps({"question": q, "answer": a, "subject": s}) for q, a, s in facts))
    return path


def test_bad_input_ends_in_one_line_and_status_2(graddiff, facts_file, taught_path, tmp_path):
    other = taught_path.rename(tmp_path / "my-model")
    unknown = write_facts(tmp_path / "unknown.jsonl", ("Who am I?", "Nobody", "I"))
    rome = write_hparams(tmp_path / "rome.yaml", "ROME")
    taught_path.symlink_to(other)
    forget = ["--forget", f"{facts_file}:forget2"]
    cases = [
        (
            ["run", graddiff, "--forget", unknown, "--retain", facts_file, "--model", taught_path],
            "knows none of these 1",
        ),
        (["run", graddiff, "--forget", facts_file, "--retain", facts_file, "--model", taught_path], "set overlap"),
        (["run", graddiff, *sets(facts_file, "forget9"), "--model", taught_path], "the task has only 6 samples"),
        (["run", graddiff, *forget, "--model", taught_path], "GradDiff needs retain data"),
        (["run", rome, *forget, "--model", other.parent], "does not load as a causal language model"),
        (["run", "AlfaEdit", *forget, "--model", other], "Did you mean 'AlphaEdit'"),
        (["run", "GRACE", *forget], "GRACE alone names no model"),
        (["run", graddiff, *forget, "--retain", facts_file, "--model", other, "--device", "cuda:0"], "no CUDA here"),
        (["run", rome, *forget, "--model", tmp_path / "llama-none"], "no such directory"),
    ]
    for number, (arguments, said) in enumerate(cases):
        out = tmp_path / f"out{number}"
        done = cli(*arguments, "--out", out)
        errors = [line for line in done.stderr_text.splitlines() if line.startswith("error: ")]
        assert done.returncode == 2, done.stderr_text
        assert len(errors) == 1
        assert said in errors[0]
        assert "Traceback" not in done.stderr_text
        assert not (out / "model").exists()


def test_ctrl_c_keeps_what_is_done(facts_file, taught_path, tmp_path):
    slow = write_hparams(tmp_path / "slow.yaml", "GradDiff", learning_rate=1e-6, num_train_epochs=100_000)
    out = tmp_path / "out"
    process = start("run", slow, *sets(facts_file), "--model", taught_path, "--out", out)
    for line in process.stderr:
        if "training steps" in line:
            break
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=60) == 130
    assert "interrupted" in process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    results = json.loads((out / "results.json").read_text())
    assert (results["status"], results["rows"]) == ("interrupted", [])
    assert results["before"]["forget_answer_rate"] == 1.0
    assert not (out / "model").exists()


def test_doctor_says_what_comes_from_where():
    found = json.loads(cli("doctor", "--json").stdout_text)
    sources = {m["name"]: m["source"] for m in found["methods"]}
    assert found["host"]["kind"] in ("release", "main")
    assert sources["GradDiff"] == "easyedit-unlearn"
    assert sources["ROME"].startswith("EasyEdit ")
    if found["host"]["kind"] == "release":
        assert sources["AlphaEdit"] == "easyedit-unlearn"
        assert sources["WISE"] == "easyedit-unlearn"
        assert sources["R-ROME"] == "missing: needs EasyEdit's main branch"


def test_a_third_party_plugin_installed_for_real(taught_path, tmp_path):
    site = tmp_path / "site"
    source = Path(__file__).parent / "fixture_plugin"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", site, source], check=True)
    rows = json.loads(cli("list", "tasks", "--json", PYTHONPATH=str(site)).stdout_text)
    assert {"name": "rivers", "owner": "fixture", "summary": "Two questions about rivers."} in rows
    hparams = write_hparams(
        tmp_path / "e.yaml", "Erase", "{target: {builder: shrug}, merge: {merger: reversed}}", max_length=99
    )
    done = cli(
        "run", hparams, "--forget", "rivers", "--model", taught_path, "--out", tmp_path / "out", PYTHONPATH=str(site)
    )
    assert done.returncode == 0, done.stderr_text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    (row,) = results["rows"]
    assert (row["method"], row["n_known"]) == ("Erase", 2)
    assert row["forget_words"] >= 0
    assert {s["target"] for s in results["samples"]} == {"I have no idea."}
    weight = load_model(tmp_path / "out" / "model")[0].state_dict()["model.layers.0.mlp.down_proj.weight"]
    assert weight.abs().max() == 0
