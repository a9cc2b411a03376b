"""Our own ROME, MEMIT and AlphaEdit on tiny models: they refuse, keep to their layers, leave no trace on failure."""

from __future__ import annotations

import dataclasses

import pytest

pytestmark = pytest.mark.host
torch = pytest.importorskip("torch")

from conftest import FACTS, copied_weights, same_weights, write_hparams

from easyedit_unlearn import ForgetSample, UnlearnHyperParams, unlearning_requests
from easyedit_unlearn.components import Job, no_progress
from easyedit_unlearn.editors import locate
from easyedit_unlearn.editors.keys import TOGETHER, few_of_each, means, missed, to_all
from easyedit_unlearn.editors.lookup import Lookup, essence_lookup, lookups, position_of
from easyedit_unlearn.editors.statistics import prompt_keys
from easyedit_unlearn.editors.values import ValueSettings, optimise_values
from easyedit_unlearn.errors import AttainmentError, ConfigError, DataError, DivergenceError, HostError
from easyedit_unlearn.experiment.alike import with_groups
from easyedit_unlearn.host.running import make_editor, undone_after
from easyedit_unlearn.model.forced import answer_logprobs
from easyedit_unlearn.model.prompting import encode_pair, format_prompt
from easyedit_unlearn.model.structure import mlp_output
from easyedit_unlearn.plugins.load import default_plugins

SAMPLES = [ForgetSample(id=str(i), question=q, answer=a, subject=s) for i, (q, a, s) in enumerate(FACTS)]
EXTRA = {
    "ROME": {},
    "MEMIT": {"layer_selection": "all", "mom2_update_weight": 0.01},
    "AlphaEdit": {
        "layer_selection": "all", "mom2_update_weight": 1, "nullspace_threshold": 1e-2, "L2": 0.01,
        "P_loc": "",
    },
}  # fmt: skip


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(f"Plain text, line {i}, of no interest." for i in range(40)))
    return path


@pytest.fixture
def editor_for(taught, tmp_path, corpus, monkeypatch):
    monkeypatch.setenv("EASYEDIT_UNLEARN_CACHE", str(tmp_path / "cache"))

    def make(alg_name, **changes):
        unlearn = (
            "{engine: native, target: {builder: fixed, text: No idea.}, "
            f"native: {{corpus: {corpus}, contexts: 1, null_space_dimensions: 100}}}}"
        )
        path = write_hparams(tmp_path / "h.yaml", "ROME", unlearn)
        import yaml

        values = (
            yaml.safe_load(path.read_text())
            | EXTRA[alg_name]
            | {"alg_name": alg_name, "kl_factor": 0, "v_num_grad_steps": 60, "clamp_norm_factor": 20}
        )
        if alg_name != "ROME":
            values.pop("context_template_length_params")
        path.write_text(yaml.safe_dump(values | changes))
        hparams = UnlearnHyperParams.from_hparams(path)
        hparams.model_name = taught
        return make_editor(hparams)

    return make


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(EXTRA))
def test_they_refuse_and_touch_only_their_layer(alg_name, editor_for, taught):
    model, tokenizer = taught
    weights = copied_weights(model)
    editor = editor_for(alg_name)
    assert editor.hparams.engine == "native"
    prompt = format_prompt(tokenizer, FACTS[0][0])
    before = answer_logprobs(model, tokenizer, [(prompt, "No idea."), (prompt, f"{FACTS[0][1]}.")])
    arguments = unlearning_requests(editor, SAMPLES[:1])
    editor.edit(**arguments, sequential_edit=True, verbose=False)
    after = answer_logprobs(model, tokenizer, [(prompt, "No idea."), (prompt, f"{FACTS[0][1]}.")])
    # six facts in two layers leave little to steer by: the direction is tested here, refusals on the real model
    assert after[0] > before[0]
    assert after[1] < before[1]
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, weights[name])}
    assert changed == {"model.layers.0.mlp.down_proj.weight"}


@pytest.mark.filterwarnings("default")
def test_a_batch_is_one_call_and_restores_bitwise(editor_for, taught):
    from easyedit_unlearn.host.find import find_host

    weights = copied_weights(taught[0])
    editor = editor_for("AlphaEdit", batch_size=2)
    restore = {"keep_original_weight": True} if find_host().kind == "release" else {}
    metrics, _, originals = editor.batch_edit(**unlearning_requests(editor, SAMPLES[:2]), verbose=False, **restore)
    assert len(metrics) == 2
    assert list(originals) == ["model.layers.0.mlp.down_proj.weight"]
    assert same_weights(taught[0], weights)


@pytest.mark.filterwarnings("default")
def test_alphaedit_remembers_a_sequence_and_forgets_what_is_undone(editor_for, taught):
    from easyedit_unlearn.host.find import find_host

    editor = editor_for("AlphaEdit")
    undo = {"keep_original_weight": True} if find_host().kind == "release" else {"sequential_edit": False}
    editor.edit(**unlearning_requests(editor, SAMPLES[:2]), verbose=False, **undo)
    assert editor.unlearning_state == {}
    for sample in SAMPLES[:2]:
        editor.edit(**unlearning_requests(editor, [sample]), verbose=False, sequential_edit=True)
    keys = editor.unlearning_state["model.layers.0.mlp.down_proj"]
    assert torch.linalg.matrix_rank(keys) == 2


@pytest.mark.filterwarnings("default")
def test_alphaedit_can_hold_what_retain_prompts_map_to(editor_for, taught):
    """Their keys then move less, for the same edit."""
    model, tokenizer = taught
    name, keep = "model.layers.0.mlp.down_proj", SAMPLES[1:]
    prompts = [format_prompt(tokenizer, sample.question) for sample in keep]
    keys = prompt_keys(model, tokenizer, [name], prompts)[name]
    weight, moved = copied_weights(model)[f"{name}.weight"], []
    for hold in (0.0, 100.0):
        editor = editor_for("AlphaEdit")
        native = editor.hparams.unlearn.native.model_copy(update={"hold_retain": hold, "retain_weight": 0})
        editor.hparams.unlearn = dataclasses.replace(editor.hparams.unlearn, native=native)
        with undone_after(model, editor.hparams, no_progress):
            editor.edit(**unlearning_requests(editor, SAMPLES[:1], retain=keep), sequential_edit=True, verbose=False)
            change = (model.get_submodule(name).weight - weight).detach()
            assert editor.unlearning_state["attainment"] > 0.9
            moved.append(float((change @ keys).norm(dim=0).mean()))
    assert moved[1] < 0.5 * moved[0]


def test_without_a_corpus_it_says_what_to_do(editor_for, taught, monkeypatch):
    monkeypatch.delenv("EASYEDIT_UNLEARN_DATA", raising=False)
    weights = copied_weights(taught[0])
    editor = editor_for("MEMIT")
    native = editor.hparams.unlearn.native.model_copy(update={"corpus": None})
    editor.hparams.unlearn = dataclasses.replace(editor.hparams.unlearn, native=native)
    with pytest.raises(ConfigError, match=r"unlearn\.native\.corpus: MEMIT needs text.*EASYEDIT_UNLEARN_DATA"):
        editor.edit(**unlearning_requests(editor, SAMPLES[:1]), verbose=False)
    assert same_weights(taught[0], weights)


@pytest.mark.parametrize("kl_factor", [0.0, 0.5])
@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_values_are_those_of_the_plain_procedure(family, kl_factor, request):
    """Skipping what lies before in layers and text, and all edits in one batch, must not change what is optimised."""
    model, tokenizer = request.getfixturevalue(family)
    names = ["transformer.h.0"] if family == "gpt2" else ["model.layers.0"]
    module = mlp_output(model, names[0])
    edits = [[Lookup(*encode_pair(tokenizer, q, " no"), len(q) // 2)] for q in ("Who is it?", "Where was she then?")]
    essence = [essence_lookup(tokenizer, name) for name in ("Blue", "The Sea")]
    settings = ValueSettings(steps=5, learning_rate=0.3, weight_decay=0.1, clamp=2.0, kl_factor=kl_factor)
    together = optimise_values(model, names, module, edits, settings, pad_id=1, progress=no_progress, essence=essence)
    for number, edit in enumerate(edits):
        expected = plain_values(model, module, edit, settings, essence[number : number + 1])
        assert torch.allclose(together[:, number : number + 1], expected, rtol=1e-3, atol=1e-4)
    assert "forward" not in model.get_submodule(names[0]).__dict__


@pytest.mark.parametrize("kl_factor", [0.0, 0.5])
def test_a_shared_value_is_one_delta_for_all_its_queries(kl_factor, llama):
    model, tokenizer = llama
    texts = ("Who is it?", "Where was she then?", "When?", "How old is that old house?")
    edits = [[Lookup(*encode_pair(tokenizer, q, " no"), len(q) // 2)] for q in texts]
    essence = [essence_lookup(tokenizer, name) for name in ("Blue", "The Sea", "Red", "House")]
    settings = ValueSettings(steps=5, learning_rate=0.3, weight_decay=0.1, clamp=2.0, kl_factor=kl_factor)
    owners = [7, 3, 7, 7]
    module = "model.layers.0.mlp.down_proj"
    found = optimise_values(
        model,
        ["model.layers.0"],
        module,
        edits,
        settings,
        pad_id=1,
        progress=no_progress,
        essence=essence,
        owners=owners,
    )
    for owner in (3, 7):
        mine = [n for n, one in enumerate(owners) if one == owner]
        expected = plain_values(model, module, [edits[n][0] for n in mine], settings, [essence[n] for n in mine])
        assert torch.allclose(found[:, mine], expected.expand(-1, len(mine)), rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("alg_name", list(EXTRA))
def test_queries_that_share_a_value_are_one_edit(alg_name, editor_for, taught):
    model, tokenizer = taught
    editor = editor_for(alg_name)
    merger = default_plugins().query_mergers.get("shared_value")
    editor.hparams.unlearn = dataclasses.replace(
        editor.hparams.unlearn, merger=merger, merger_options=merger.Options(size=2)
    )
    pairs = [(format_prompt(tokenizer, q), "No idea.") for q, _, _ in FACTS[:2]]
    before = answer_logprobs(model, tokenizer, pairs)
    arguments = unlearning_requests(editor, SAMPLES[:2])
    assert len(arguments["prompts"]) == 1
    assert [query["subject"] for query in arguments["shared"][arguments["prompts"][0]]] == [SAMPLES[1].subject]
    weights = copied_weights(model)
    editor.edit(**arguments, sequential_edit=True, verbose=False)
    after = answer_logprobs(model, tokenizer, pairs)
    assert all(b < a for b, a in zip(before, after, strict=True))
    name = "model.layers.0.mlp.down_proj.weight"
    update = model.state_dict()[name] - weights[name]
    # both keys get one and the same change of value
    assert torch.linalg.matrix_rank(update, rtol=1e-3) == 1


TINY_LAYERS = {
    "AlphaEdit": {"layers": [0], "v_loss_layer": 1},
    "WISE": {"inner_params": ["model.layers[0].mlp.down_proj.weight"]},
    "GRACE": {"inner_params": ["model.layers[0].mlp.down_proj.weight"]},
}


@pytest.mark.parametrize("alg_name", list(TINY_LAYERS))
def test_auto_looks_at_the_keys_of_the_method(alg_name, llama):
    model, tokenizer = llama
    hparams = UnlearnHyperParams.from_hparams(f"{alg_name}/smollm2-135m", overrides=TINY_LAYERS[alg_name])
    settings = hparams.unlearn
    assert settings.merger.name == "auto"

    def found(least):
        hparams.unlearn = dataclasses.replace(settings, merger_options=settings.merger.Options(alike=least))
        made = with_groups(model, tokenizer, SAMPLES, hparams)
        assert hparams.unlearn.merger_options.groups == ()  # the caller's is another
        return [len(group) for group in made.unlearn.merger_options.groups]

    assert found(-1.0) == [len(SAMPLES)]
    assert found(1.0) == [1] * len(SAMPLES)
    twice = [*SAMPLES[:2], dataclasses.replace(SAMPLES[1], id="again", question=f"{SAMPLES[1].question} Well?")]
    hparams.unlearn = settings
    groups = with_groups(model, tokenizer, twice, hparams).unlearn.merger_options.groups
    assert any({SAMPLES[1].id, "again"} <= set(group) for group in groups)


def test_what_does_not_refuse_as_found_is_gone_on_with(editor_for, taught, monkeypatch):
    """And what is remembered of the edit, for a sequence, is what was written first, once."""
    model, tokenizer = taught
    found = iter([torch.tensor([0.02, 1.0, 0.3]), torch.tensor([0.02, 0.05, 0.3]), torch.tensor([0.02, 0.05, 0.04])])
    monkeypatch.setattr(locate, "target_losses", lambda *_arguments: next(found))
    editor, chosen, remembered = editor_for("AlphaEdit"), [], []
    method = type(editor.hparams.method)
    deltas, remember = method._deltas, method.remember

    def noted(self, job, queries, edits, owners, site, numbers):
        chosen.append(list(numbers))
        return deltas(self, job, queries, edits, owners, site, numbers)

    def once(self, job, layer, keys):
        remembered.append(layer)
        remember(self, job, layer, keys)

    monkeypatch.setattr(method, "_deltas", noted)
    monkeypatch.setattr(method, "remember", once)
    requests = [
        {"prompt": format_prompt(tokenizer, question), "target_new": "No idea.", "subject": subject}
        for question, _, subject in FACTS[:3]
    ]
    method().apply(Job(model, tokenizer, requests, editor.hparams))
    assert chosen == [[0, 1, 2], [1, 2], [2]]
    assert remembered == ["model.layers.0.mlp.down_proj"]


def test_a_value_is_found_over_some_of_the_queries_that_share_it_and_given_to_all():
    owners = [0] * 50 + [1] * 2
    first = few_of_each(owners)
    assert len(first) == TOGETHER + 2 and first[-2:] == [50, 51] and first[0] == 0 and first[TOGETHER - 1] >= 40
    losses = [0.0] * 52
    losses[7], losses[8], losses[51] = 3.0, 2.0, 1.0
    again = few_of_each(owners, list(range(50)), losses)
    assert {7, 8} <= set(again) and len(again) == TOGETHER and max(again) < 50
    assert missed(torch.tensor(losses), owners) == list(range(52))
    assert missed(torch.tensor([0.09, 0.11, float("nan")]), [0, 1, 2]) == [1, 2]
    found = torch.tensor([[1.0, 2.0]])
    assert to_all(found, [0, 3], [0, 0, 0, 1]).tolist() == [[1, 1, 1, 2]]
    assert to_all(found, [0, 3], [0, 0, 0, 1], [3]).tolist() == [[0, 0, 0, 2]]


def test_keys_of_one_subject_may_be_solved_for_as_their_mean():
    queries = [{"subject": "Ada"}, {"subject": "Ada"}, {"subject": "Bo"}, {"subject": "Ada"}]
    edits, owners = [[None, None], [None], [None], [None]], [0, 0, 0, 1]
    assert locate._units(queries, edits, owners, "each") == [0, 1, 2, 3, 4]
    assert locate._units(queries, edits, owners, "mean") == [0, 0, 0, 1, 2]
    columns = torch.tensor([[1.0, 2.0, 6.0, 4.0, 5.0]])
    assert means(columns, [0, 0, 0, 1, 2]).tolist() == [[3.0, 4.0, 5.0]]
    assert torch.equal(means(columns, range(5)), columns)


def test_a_later_pass_that_attains_too_little_costs_nothing_of_the_first(editor_for, taught, monkeypatch):
    model, _ = taught
    monkeypatch.setattr(locate, "target_losses", lambda *_arguments: torch.tensor([1.0]))
    write, after = locate.LocateThenEdit._write, []

    def fails_later(self, job, *arguments):
        write(self, job, *arguments)
        after.append((copied_weights(job.model), job.state["attainment"]))
        if len(after) == 2:
            job.state["attainment"] = 0.1
            raise AttainmentError("too little")

    monkeypatch.setattr(locate.LocateThenEdit, "_write", fails_later)
    editor = editor_for("MEMIT")
    editor.edit(**unlearning_requests(editor, SAMPLES[:1]), sequential_edit=True, verbose=False)
    assert len(after) == 2 and same_weights(model, after[0][0])
    assert editor.unlearning_state["attainment"] == after[0][1]


def test_a_pass_that_makes_it_worse_is_taken_back(editor_for, taught, monkeypatch):
    model, _ = taught
    found = iter([torch.tensor([1.0]), torch.tensor([2.0])])
    monkeypatch.setattr(locate, "target_losses", lambda *_arguments: next(found))
    after = []
    write = locate.LocateThenEdit._write

    def noted(self, job, *arguments):
        write(self, job, *arguments)
        after.append(copied_weights(job.model))

    monkeypatch.setattr(locate.LocateThenEdit, "_write", noted)
    editor = editor_for("MEMIT")
    editor.edit(**unlearning_requests(editor, SAMPLES[:1]), sequential_edit=True, verbose=False)
    assert len(after) == 2
    assert not same_weights(model, after[1])
    assert same_weights(model, after[0])


def test_who_cannot_share_a_value_says_so(taught, tmp_path):
    path = write_hparams(tmp_path / "h.yaml", "GradDiff", "{merge: {merger: shared_value}}")
    hparams = UnlearnHyperParams.from_hparams(path)
    hparams.model_name = taught
    weights = copied_weights(taught[0])
    editor = make_editor(hparams)
    with pytest.raises(ConfigError, match=r"unlearn\.merge\.merger: 'shared_value': GradDiff.*merger concat"):
        unlearning_requests(editor, SAMPLES[:2])
    with pytest.raises(HostError, match="cannot share a value"):
        editor.edit(
            prompts=["Who?"], target_new=["No."], ground_truth=["A"], shared={"Who?": [{"prompt": "Who else?"}]}
        )
    assert same_weights(taught[0], weights)


def plain_values(model, name, edits, settings, essences):
    """ROME's section 3.1 written out: a hook adds one delta at the position of each text, the whole model runs at each
    step. Several edits share the delta."""
    delta, position, seen = None, 0, []

    def add(_module, _given, output):
        hidden = output[0] if isinstance(output, tuple) else output
        seen.append(hidden[0, position].detach().clone())
        if delta is not None:
            hidden = hidden.clone()
            hidden[0, position] += delta
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    def logprobs(ids, where):
        nonlocal position
        position = where
        return model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)

    handle = model.get_submodule(name).register_forward_hook(add)
    with torch.no_grad():
        first = [logprobs(essence.prompt, essence.position)[essence.position] for essence in essences]
        seen.clear()
        for edit in edits:
            logprobs(edit.prompt, edit.position)
    norm = torch.stack(seen).norm(dim=1).mean()
    delta = torch.zeros_like(seen[0], requires_grad=True)
    optimiser = torch.optim.Adam([delta], lr=settings.learning_rate)
    for _ in range(settings.steps - 1):
        loss = settings.weight_decay * delta.norm() / norm**2
        for edit, essence, before in zip(edits, essences, first, strict=True):
            now = logprobs(essence.prompt, essence.position)[essence.position]
            found = logprobs(edit.prompt + edit.target, edit.position)
            nll = -sum(found[len(edit.prompt) - 1 + n, token] for n, token in enumerate(edit.target)) / len(edit.target)
            kl = torch.nn.functional.kl_div(before, now, log_target=True, reduction="sum")
            loss = loss + (nll + settings.kl_factor * kl) / len(edits)
        optimiser.zero_grad()
        loss.backward(inputs=[delta])
        optimiser.step()
        with torch.no_grad():
            delta *= (settings.clamp * norm / delta.norm()).clamp(max=1)
    handle.remove()
    return delta.detach()[:, None]


def test_values_that_are_not_finite_leave_the_model_whole(llama):
    model, tokenizer = llama
    weights = copied_weights(model)
    edit = [[Lookup(*encode_pair(tokenizer, "Who?", " no"), 1)]]
    with pytest.raises(DivergenceError):
        optimise_values(
            model, ["model.layers.0"], "model.layers.0.mlp.down_proj", edit, ValueSettings(3, float("inf"), 0.0, 1.0),
            pad_id=1, progress=no_progress,
        )  # fmt: skip
    assert same_weights(model, weights)
    assert "forward" not in model.model.layers[0].__dict__


@pytest.mark.parametrize(
    ("fact_token", "expected"),
    [("subject_first", "B"), ("subject_last", "e"), ("subject_first_after_last", " "), ("last", "?")],
)
def test_positions(llama, fact_token, expected):
    tokenizer = llama[1]
    prompt = "Who is Blue of the sea?"
    position = position_of(tokenizer, prompt, "Blue", fact_token)
    assert tokenizer.decode([tokenizer(prompt).input_ids[position]]) == expected
    if fact_token != "last":
        with pytest.raises(DataError, match="needs the subject"):
            position_of(tokenizer, prompt, "Red", fact_token)


def test_wordings_keep_the_question_and_know_where_its_subject_is(llama):
    tokenizer = llama[1]
    request = {"prompt": format_prompt(tokenizer, "Who is Blue?"), "subject": "Blue", "target_new": "No."}
    found = lookups(tokenizer, request, "subject_last", 1, 5)
    texts = [tokenizer.decode(lookup.prompt) for lookup in found]
    assert texts[0] == request["prompt"] and len(set(texts)) == 6
    assert "This is about Blue. Who is it?" in texts[1]
    assert all(text.startswith("<|user|>") and text.endswith("<|assistant|>\n") for text in texts)
    assert {tokenizer.decode([lookup.prompt[lookup.position]]) for lookup in found} == {"e"}
    bare = lookups(tokenizer, {"prompt": "Who is Blue?", "subject": None, "target_new": "No."}, "last", 4, 5)
    assert [tokenizer.decode(one.prompt) for one in bare][:2] == ["Who is Blue?", "Who is Blue? Please tell me."]
    assert len(bare) == 4  # no other settings outside a chat, and nothing about a subject


def test_contexts_differ_in_the_system_prompt_alone(llama):
    tokenizer = llama[1]
    request = {"prompt": format_prompt(tokenizer, "Who is Blue?"), "subject": "Blue", "target_new": "No."}
    found = lookups(tokenizer, request, "subject_last", 3)
    texts = [tokenizer.decode(lookup.prompt) for lookup in found]
    assert texts[0] == request["prompt"]
    assert len(set(texts)) == 3
    assert all("Who is Blue?" in text for text in texts)
    assert {tokenizer.decode([lookup.prompt[lookup.position]]) for lookup in found} == {"e"}
    assert found[0].target[-1] == tokenizer.eos_token_id
