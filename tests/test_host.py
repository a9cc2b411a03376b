"""EasyEdit itself, whichever form is installed, on tiny models: what ``BaseEditor`` must do, and must leave alone."""

from __future__ import annotations

import logging
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights, write_hparams

from easyedit_unlearn import ForgetSample, Target, UnlearnHyperParams, unlearning_requests
from easyedit_unlearn.errors import ConfigError, DataError, DivergenceError, HostError
from easyedit_unlearn.host.find import find_host
from easyedit_unlearn.host.running import make_editor
from easyedit_unlearn.model.prompting import format_prompt

SAMPLES = [ForgetSample(id=str(i), question=q, answer=a, subject=s) for i, (q, a, s) in enumerate(FACTS)]
EDITED = "model.layers.0.mlp.down_proj.weight"


@pytest.fixture(scope="module", autouse=True)
def imported():
    """EasyEdit warns while it works; its warnings are not ours to turn into errors."""
    from easyedit_unlearn.host import running

    running.import_host()


@pytest.fixture
def editor_for(taught, tmp_path):
    def make(alg_name, unlearn="{}", **changes):
        hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", alg_name, unlearn, **changes))
        hparams.model_name = taught
        return make_editor(hparams)

    return make


def edit(editor, samples=SAMPLES[:2], how="edit", **options):
    retain = SAMPLES[4:] if editor.hparams.method.needs_retain else None
    arguments = unlearning_requests(editor, samples, retain=retain)
    return getattr(editor, how)(**arguments, verbose=False, **options)


def restoring(persist):
    """The switch by which each form of EasyEdit keeps or undoes an edit."""
    return {"keep_original_weight": not persist} if find_host().kind == "release" else {"sequential_edit": persist}


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", ["ROME", "GradDiff"])
def test_an_edit_changes_and_a_restore_is_bitwise(alg_name, editor_for, taught):
    model, weights = taught[0], copied_weights(taught[0])
    editor = editor_for(alg_name)
    metrics, edited, originals = edit(editor, **restoring(persist=False))
    assert same_weights(model, weights)
    assert [m["requested_rewrite"]["ground_truth"] for m in metrics] == [f"{a}." for _, a, _ in FACTS[:2]]
    assert EDITED in originals
    edit(editor, **restoring(persist=True))
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])}
    assert EDITED in changed
    if alg_name == "ROME":
        assert changed == {EDITED}
    assert all(p.requires_grad for p in model.parameters())  # EasyEdit's ROME freezes the model


@pytest.mark.filterwarnings("default")
def test_sequential_edit_means_the_same_on_both_hosts(editor_for, taught):
    model, weights = taught[0], copied_weights(taught[0])
    editor = editor_for("ROME")
    edit(editor, sequential_edit=False)
    assert same_weights(model, weights)
    edit(editor, sequential_edit=True)
    assert not same_weights(model, weights)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("engine", ["host", "native"])
def test_a_merged_request_is_one_edit(engine, editor_for, taught, monkeypatch):
    corpus = "native: {corpus: retain}"
    merge = f"{{engine: {engine}, merge: {{merger: concat, size: 2}}, {corpus}}}"
    editor = editor_for("ROME", merge)
    assert editor.hparams.engine == engine
    arguments = unlearning_requests(editor, SAMPLES[:4])
    assert len(arguments["prompts"]) == 2
    assert all(
        prompt.count(subject) == 1 for prompt, subject in zip(arguments["prompts"], arguments["subject"], strict=True)
    )
    calls = []
    apply = editor.apply_algo
    monkeypatch.setattr(editor, "apply_algo", lambda *a, **k: calls.append(1) or apply(*a, **k))
    editor.edit(**arguments, sequential_edit=True, verbose=False)
    assert len(calls) == 2


@pytest.mark.filterwarnings("default")
def test_what_a_merged_request_forgets_is_not_retained(editor_for, facts_file):
    retain = f"retain: {{task: jsonl, path: {facts_file}, split: all}}"
    editor = editor_for("GradDiff", f"{{merge: {{merger: concat, size: 2}}, {retain}}}")
    arguments = unlearning_requests(editor, SAMPLES[:4])
    assert len(arguments["prompts"]) == 2
    assert [answer for _, answer in arguments["retain"]] == [f"{a}." for _, a, _ in FACTS[4:]]


@pytest.mark.filterwarnings("default")
def test_a_widened_subject_has_another_first_token(editor_for):
    twice = [
        replace(SAMPLES[0], id="a", question="Where is Arda?"),
        replace(SAMPLES[0], id="b", question="What is Arda?"),
    ]
    for token, fits in (("subject_last", True), ("subject_first", False)):
        editor = editor_for("ROME", "{engine: native, merge: {merger: by_subject}}", fact_token=token)
        if fits:
            assert unlearning_requests(editor, twice)["subject"] == ["What is Arda"]
            continue
        with pytest.raises(DataError, match="had to be widened to 'What is Arda'.*choose fact_token subject_last"):
            unlearning_requests(editor, twice)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("engine", ["host", "native"])
def test_the_empty_target_ends_the_text_at_once(engine, editor_for, taught):
    model, tokenizer = taught
    steps = {"v_num_grad_steps": 25, "clamp_norm_factor": 20, "kl_factor": 0}
    editor = editor_for("ROME", f"{{engine: {engine}, target: {{builder: empty}}}}", **steps)
    prompt = format_prompt(tokenizer, SAMPLES[0].question)
    ids = torch.tensor([tokenizer(prompt).input_ids])

    @torch.no_grad()
    def end():
        return float(model(ids).logits[0, -1].log_softmax(-1)[tokenizer.eos_token_id])

    before = end()
    edit(editor, SAMPLES[:1], sequential_edit=True)
    assert end() > before + 0.5  # nats, at the bare prompt; EasyEdit's ROME averages over contexts of random text


@pytest.mark.filterwarnings("default")
def test_targets_that_are_wrong_touch_no_weight(editor_for, taught):
    weights = copied_weights(taught[0])
    editor = editor_for("ROME", "{target: {builder: template}, merge: {merger: concat, size: 6}}")
    with pytest.raises(DataError, match="different targets"):
        edit(editor, SAMPLES)
    editor = editor_for("ROME")
    for targets, said in (
        ([Target("1", "No."), Target("0", "No.")], "expected one each"),
        ([Target("0", "No."), Target("1", f"It is {SAMPLES[1].answer}.")], "gives away the answer"),
    ):
        with pytest.raises(DataError, match=said):
            unlearning_requests(editor, SAMPLES[:2], targets=targets)
    assert same_weights(taught[0], weights)


@pytest.mark.filterwarnings("default")
def test_baselines_batch(editor_for, taught):
    weights = copied_weights(taught[0])
    editor = editor_for("GradDiff", batch_size=2, learning_rate=1e-3, num_train_epochs=2)
    metrics, _, originals = edit(editor, how="batch_edit", **restoring(persist=False))
    assert len(metrics) == 2
    assert set(originals) == {name for name, _ in taught[0].named_parameters()}
    assert same_weights(taught[0], weights)


@pytest.mark.filterwarnings("default")
def test_the_same_seed_gives_the_same_edit_and_the_users_random_state_stays(editor_for, taught):
    model, weights = taught[0], copied_weights(taught[0])
    found = []
    for noise in (1, 2):
        random.seed(noise)
        torch.manual_seed(noise)
        state, torch_state = random.getstate(), torch.get_rng_state()
        model.load_state_dict(weights)
        edit(editor_for("ROME"), sequential_edit=True)
        assert random.getstate() == state
        assert torch.equal(torch.get_rng_state(), torch_state)
        found.append(copied_weights(model))
    assert same_weights(model, found[0])


@pytest.mark.filterwarnings("default")
def test_nothing_is_written_or_reconfigured(editor_for, tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    editor = editor_for("ROME")
    tokenizer = editor.hparams.method and editor.tok
    edit(editor, SAMPLES[:1])
    assert os.listdir(work) == []
    assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
    assert tokenizer.padding_side == "right"


@pytest.mark.filterwarnings("default")
def test_the_users_tokenizer_keeps_its_padding(editor_for, taught):
    before = (taught[1].padding_side, taught[1].pad_token)
    editor = editor_for("GradDiff")
    assert (taught[1].padding_side, taught[1].pad_token) == before
    assert editor.tok.pad_token_id != editor.tok.eos_token_id  # EasyEdit's metrics compare ids with the pad id
    assert editor.model_name == editor.hparams.model_name
    assert isinstance(editor.model_name, str)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failure_in_the_middle_of_a_sequence_restores_everything(editor_for, taught, error):
    model, weights = taught[0], copied_weights(taught[0])
    editor = editor_for("ROME")
    apply, calls = editor.apply_algo, []

    def fails_at_the_second(*args, **kwargs):
        calls.append(1)
        if len(calls) == 2:
            raise error
        return apply(*args, **kwargs)

    editor.apply_algo = fails_at_the_second
    with pytest.raises(error):
        edit(editor, sequential_edit=True)
    assert same_weights(model, weights)
    assert all(p.requires_grad for p in model.parameters())


@pytest.mark.filterwarnings("default")
def test_copy_edits_a_copy(editor_for, taught, facts_file):
    from easyedit_unlearn.host.session import host_module, session

    model, weights = taught[0], copied_weights(taught[0])
    retain = f"{{retain: {{task: jsonl, path: {facts_file}, split: all}}}}"
    editor = editor_for("GradDiff", retain, learning_rate=1e-3, num_train_epochs=1)
    arguments = unlearning_requests(editor, SAMPLES[:1])
    request = {"prompt": arguments["prompts"][0], "ground_truth": arguments["ground_truth"][0]}
    apply = host_module("util.alg_dict").ALG_DICT["GradDiff"]
    with session(model, 0):  # the guard of a call under way guards its own model, not the copy
        edited, originals = apply(
            model, editor.tok, [request], editor.hparams, copy=True, return_orig_weights=True, keep_original_weight=True
        )
    assert same_weights(model, weights)
    assert not same_weights(edited, weights)
    assert torch.equal(originals[EDITED], weights[EDITED])


@pytest.mark.filterwarnings("default")
def test_divergence_restores(editor_for, taught, monkeypatch):
    model, weights = taught[0], copied_weights(taught[0])
    editor = editor_for("GradDiff", learning_rate=1e-2, num_train_epochs=3)
    from easyedit_unlearn.baselines import ascent

    calls = []

    def nan_at_the_third(forget, retain, gamma, alpha):
        calls.append(1)
        return (forget + retain) * (float("nan") if len(calls) > 2 else 1.0)

    monkeypatch.setattr(ascent, "graddiff", nan_at_the_third)
    with pytest.raises(DivergenceError, match="the model is as it was"):
        edit(editor, sequential_edit=True)
    assert same_weights(model, weights)


def plain_rome(tmp_path, taught):
    """EasyEdit's own class and loader, no unlearning anywhere."""
    import yaml
    from easyeditor import ROMEHyperParams

    path = write_hparams(tmp_path / "plain.yaml", "ROME")
    values = yaml.safe_load(path.read_text())
    del values["unlearn"]
    path.write_text(yaml.safe_dump(values))
    hparams = ROMEHyperParams.from_hparams(str(path))
    hparams.model_name = taught
    if find_host().kind == "main" and not torch.cuda.is_available():
        hparams.device = "cpu"
    return hparams


@pytest.mark.filterwarnings("default")
def test_plain_hparams_edit_as_without_the_plugin(taught, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    from easyeditor import BaseEditor

    model, weights = taught[0], copied_weights(taught[0])
    hparams = plain_rome(tmp_path, taught)
    editor = BaseEditor.from_hparams(hparams)
    editor.model_name = hparams.model_name = "tiny-llama"
    assert editor.hparams is hparams
    question, _, subject = FACTS[0]
    torch.manual_seed(3)
    editor.edit(prompts=[question], target_new=["Nowhere"], subject=[subject], verbose=False, **restoring(persist=True))
    assert Path("logs").is_dir()  # as EasyEdit does by itself
    through = copied_weights(model)
    model.load_state_dict(weights)

    # the same edit by EasyEdit's own function, BaseEditor and its wrappers left out
    from easyedit_unlearn.host.session import host_module, on_right_device

    main = host_module("models.rome.rome_main")
    request = {"prompt": question, "target_new": "Nowhere", "subject": subject}
    with on_right_device(hparams.device):
        main.apply_rome_to_model(model, editor.tok, [request], hparams)
    assert same_weights(model, through)


@pytest.mark.filterwarnings("default")
def test_our_own_code_runs_outside_the_mode_that_maps_cuda_to_the_cpu(editor_for, monkeypatch):
    from torch.overrides import _get_current_function_mode_stack

    from easyedit_unlearn.host.cpu import CudaToCpu

    seen = set()

    def modes(*_args):
        seen.add(any(isinstance(mode, CudaToCpu) for mode in _get_current_function_mode_stack()))

    editor = editor_for("GradDiff", num_train_epochs=1)
    monkeypatch.setattr(type(editor.hparams.method), "apply", modes)
    edit(editor, how="batch_edit")
    assert seen == {False}
    outside = editor_for("ROME")
    rome = outside.apply_algo
    outside.apply_algo = lambda *args, **kwargs: (modes(), rome(*args, **kwargs))[1]
    edit(outside, SAMPLES[:1])
    assert (True in seen) == (find_host().kind == "release")  # EasyEdit's own code of 2023 needs it


def test_methods_are_in_alg_dict_and_batchable():
    from easyedit_unlearn.host.session import host_module

    assert {"ROME", "GradDiff"} <= set(host_module("util.alg_dict").ALG_DICT)
    batch = host_module("editors.batch_editor").BatchEditor
    assert batch.is_batchable_method("GradDiff")
    assert batch.is_batchable_method("MEMIT")
    assert not batch.is_batchable_method("ROME")


@pytest.mark.filterwarnings("default")
def test_the_contract_refuses_plain_hparams(llama):
    from easyedit_unlearn.host.session import host_module

    with pytest.raises(HostError, match=r"UnlearnHyperParams\.from_hparams"):
        host_module("util.alg_dict").ALG_DICT["GradDiff"](*llama, [], object())
    with pytest.raises(ConfigError, match="made from UnlearnHyperParams"):
        unlearning_requests(type("Editor", (), {"hparams": object()})(), SAMPLES)


def test_a_method_the_host_lacks(tmp_path):
    if find_host().kind != "release":
        pytest.skip("the main branch has them all")
    with pytest.raises(HostError, match="has no R-ROME; it has .*ROME.*git clone"):
        UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "a.yaml", "R-ROME"))


def test_a_path_that_easyedit_would_not_recognise_loads(taught, tmp_path):
    """EasyEdit chooses its loader by what stands in the path; it is given a model that is loaded."""
    taught[0].save_pretrained(tmp_path / "mine")
    taught[1].save_pretrained(tmp_path / "mine")
    path = write_hparams(tmp_path / "h.yaml", "ROME", model_name=str(tmp_path / "mine"))
    editor = make_editor(UnlearnHyperParams.from_hparams(path))
    arguments = unlearning_requests(editor, SAMPLES[:1])
    metrics, _, _ = editor.edit(**arguments, verbose=False)
    assert len(metrics) == 1


def test_missing_retain_data_is_named(editor_for, taught):
    weights = copied_weights(taught[0])
    editor = editor_for("GradDiff")
    with pytest.raises(HostError, match="GradDiff needs retain data"):
        editor.edit(**unlearning_requests(editor, SAMPLES[:1]), verbose=False)
    assert same_weights(taught[0], weights)


def test_retain_data_from_the_hparams_leaves_out_what_is_edited(editor_for, facts_file):
    from easyedit_unlearn.host.retain import retain_pairs

    editor = editor_for("GradDiff", f"{{retain: {{task: jsonl, path: {facts_file}, split: all}}}}")
    prompts = unlearning_requests(editor, SAMPLES[:2])["prompts"]
    pairs = retain_pairs(editor.model, editor.tok, editor.hparams, prompts)
    assert [answer for _, answer in pairs] == [f"{a}." for _, a, _ in FACTS[2:]]


@pytest.mark.filterwarnings("default")
def test_one_retain_set_for_the_whole_call(editor_for, facts_file, monkeypatch):
    """EasyEdit calls a method once a request: what else is forgotten must not become retain data meanwhile."""
    from easyedit_unlearn.baselines.ascent import GradDiff

    seen = []
    monkeypatch.setattr(GradDiff, "apply", lambda _method, job: seen.append([a for _, a in job.retain]))
    editor = editor_for("GradDiff", f"{{retain: {{task: jsonl, path: {facts_file}, split: all}}}}")
    editor.edit(**unlearning_requests(editor, SAMPLES[:3]), verbose=False, sequential_edit=True)
    assert seen == [[f"{a}." for _, a, _ in FACTS[3:]]] * 3


def test_samples_are_checked_first(editor_for):
    editor = editor_for("GradDiff")
    for samples, retain, said in (
        ([], None, "holds no samples"),
        ([SAMPLES[0]] * 2, None, "repeats"),
        (SAMPLES[:2], SAMPLES[1:], "overlap"),
    ):
        with pytest.raises(DataError, match=said):
            unlearning_requests(editor, samples, retain=retain)


@pytest.mark.filterwarnings("default")
def test_an_edit_that_is_not_finite_is_refused(editor_for, taught):
    weights = copied_weights(taught[0])
    editor = editor_for("ROME", v_lr=1e20, clamp_norm_factor=1e30)
    with pytest.raises(DivergenceError, match="not finite"):
        edit(editor, SAMPLES[:1], sequential_edit=True)
    assert same_weights(taught[0], weights)


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (ForgetSample(id="1", question="Who is it?", answer="x"), "give 'Who is it\\?' a 'subject'"),
        (ForgetSample(id="1", question="Who is who?", answer="x", subject="i"), "must stand exactly once"),
        (ForgetSample(id="1", question="Who is {x}?", answer="y", subject="Who"), "may not contain braces"),
    ],
)
def test_subjects_that_rome_cannot_use(editor_for, sample, said):
    with pytest.raises(DataError, match=said):
        unlearning_requests(editor_for("ROME"), [sample])


def python(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


def test_import_order_does_not_matter():
    """Before: the finder adapts. After (only the main branch can be imported alone): the import adapts at once."""
    check = "from easyeditor.util.alg_dict import ALG_DICT; assert 'GradDiff' in ALG_DICT"
    assert python(f"import easyedit_unlearn; import easyeditor; {check}").returncode == 0
    if find_host().kind == "main":
        path = f"import sys; sys.path.insert(0, {str(find_host().path.parent)!r}); "
        done = python(f"{path}import easyeditor; import easyedit_unlearn; {check}")
        if "ModuleNotFoundError" in done.stderr:
            pytest.skip("the main branch's own requirements are not installed")
        assert done.returncode == 0, done.stderr


def test_importing_easyedit_leaves_the_interpreter_as_it_was():
    code = (
        "import random, logging, sys, importlib.util, easyedit_unlearn\n"
        "import torch, numpy\n"
        "random.seed(1); numpy.random.seed(1); torch.manual_seed(1)\n"
        "before = (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist())\n"
        "missing = [n for n in ('timm', 'fairscale', 'higher', 'openai') if importlib.util.find_spec(n) is None]\n"
        "import easyeditor\n"
        "after = (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist())\n"
        "assert before == after\n"
        "assert logging.getLogger().handlers == [] and logging.getLogger().level == logging.WARNING\n"
        "assert [n for n in missing if importlib.util.find_spec(n) is not None] == []\n"
        "from transformers.utils import is_datasets_available\n"
        "assert is_datasets_available() == (importlib.util.find_spec('datasets') is not None)\n"
    )
    done = python(code)
    assert done.returncode == 0, done.stderr


def test_a_home_without_easyedit(tmp_path):
    code = "from easyedit_unlearn.host.find import require_host; require_host()"
    assert "holds no easyeditor/__init__.py" in python(code, EASYEDIT_HOME=str(tmp_path)).stderr


def test_without_easyedit_the_error_says_how_to_get_it(monkeypatch):
    from easyedit_unlearn.host import find as locate

    monkeypatch.setattr(locate, "find_host", lambda: None)
    with pytest.raises(HostError, match=r"pip install --no-deps easyeditor.*git clone"):
        locate.require_host()


def test_what_transformers_dropped_is_a_placeholder_while_easyedit_is_imported(monkeypatch):
    from easyedit_unlearn.host import placeholders

    monkeypatch.setattr(placeholders, "REMOVED", frozenset({"transformers.never_was"}))
    with placeholders.placeholders():
        from transformers.never_was import thing
    assert "transformers.never_was" not in sys.modules
    assert "never_was" not in vars(sys.modules["transformers"])
    with pytest.raises(ModuleNotFoundError, match="transformers no longer has it"):
        thing()


def test_answers_go_with_the_requests_and_retain_replies_end_with_them(editor_for, monkeypatch):
    from easyedit_unlearn.baselines.npo import NPO

    editor = editor_for("NPO", answer_tokens="fact")
    retain = [replace(SAMPLES[3], response=f"It was {SAMPLES[3].answer}, they say.")]
    arguments = unlearning_requests(editor, SAMPLES[:2], retain=retain)
    assert list(arguments["answers"].values()) == [list(sample.answers) for sample in SAMPLES[:2]]
    assert [reply for _, reply in arguments["retain"]] == [f"It was {SAMPLES[3].answer}"]
    seen = []
    monkeypatch.setattr(NPO, "apply", lambda _method, job: seen.append(job.requests))
    editor.batch_edit(**arguments, sequential_edit=True, verbose=False)
    assert [request["answers"] for call in seen for request in call] == list(arguments["answers"].values())
    editor.edit(prompts=["Who?"], target_new=["No."], ground_truth=["Ann"], retain=arguments["retain"], verbose=False)
    assert seen[-1][0]["answers"] == ["Ann"]  # a plain call: the answer to forget is all there is
