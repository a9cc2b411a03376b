"""Whatever decoder, precision or place: it is edited exactly, or the reason is said in one line, before any work."""

from __future__ import annotations

import dataclasses

import pytest

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("default")]
torch = pytest.importorskip("torch")

from architectures import build
from conftest import copied_weights, same_weights, tiny_llama, tiny_tokenizer

from easyedit_unlearn.components import Job, no_progress
from easyedit_unlearn.editors.attain import attained, record
from easyedit_unlearn.editors.corpus import Corpus
from easyedit_unlearn.editors.inputs import inputs_of, outside_inputs
from easyedit_unlearn.editors.lookup import Lookup, lookups
from easyedit_unlearn.editors.resume import Resumed, way_to_run, width_of
from easyedit_unlearn.editors.statistics import key_moments, prompt_moments
from easyedit_unlearn.editors.values import ValueSettings, optimise_values
from easyedit_unlearn.errors import AttainmentError, ConfigError, UnlearnError, UnlearnWarning
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.inference import answer_nll, generate_replies
from easyedit_unlearn.model.load import load_model, placed
from easyedit_unlearn.model.prompting import beginning, encode_pair, format_prompt
from easyedit_unlearn.model.structure import layer_names, mlp_output, stream_share
from easyedit_unlearn.model.weights import check_writable, fingerprint

NO_SYSTEM = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
DROPS_SYSTEM = (
    "{% for m in messages %}{% if m['role'] != 'system' %}{{ '<|' + m['role'] + '|>' + m['content'] + '<|end|>' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)


def rows_of(tokenizer, *questions):
    return [Lookup(*encode_pair(tokenizer, q, " no idea", end=True), len(q) // 2) for q in questions]


# ---------------------------------------------------------------- what becomes of an MLP's output


@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("llama", 1.0),
        ("gpt2", 1.0),
        ("gptj", 1.0),
        ("granite", 0.22),
        ("gemma2", None),
        ("gemma3", None),
        ("olmo2", None),
    ],
)
def test_how_much_of_an_mlps_output_reaches_the_stream(name, share):
    model = build(name)
    layer = layer_names(model)[1]
    found = stream_share(model, layer, mlp_output(model, layer))
    assert found == (None if share is None else pytest.approx(share, rel=1e-3))


def test_the_layers_are_the_language_models_own():
    model = build("gemma3-multimodal")
    assert all("vision" not in name for name in layer_names(model))
    assert len(layer_names(model)) == 4


# ---------------------------------------------------------------- attainment


def test_attainment_by_hand():
    promised = torch.tensor([[2.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
    realised = torch.tensor([[1.0, 9.0, 5.0], [7.0, 3.0, 5.0]])
    assert attained(realised, promised).tolist() == [
        0.5,
        1.0,
        1.0,
    ]  # what lies across does not count, nor what is asked of none


def job_of(**state):
    hparams = dataclasses.make_dataclass("H", ["alg_name"])("ROME")
    return Job(None, None, [], hparams, state=dict(state))


def test_an_edit_that_attains_too_little_says_so():
    job = job_of(attainment=0.97)
    record(job, torch.tensor([0.99, 1.0]), ["a", "b"])
    assert job.state["attainment"] == 0.97
    with pytest.raises(
        AttainmentError, match=r"ROME attains 40% .*1 of 2 lookups fall short; the worst: 'b'.*taken back"
    ):
        record(job, torch.tensor([0.99, 0.4]), ["a", "b"])
    with pytest.raises(AttainmentError):
        record(job, torch.tensor([float("nan")]), ["a"])


# ---------------------------------------------------------------- resumed passes


@pytest.mark.parametrize("name", ["llama", "mistral-window", "gemma3-window", "gpt2", "opt", "bloom", "lfm2", "gemma2"])
def test_resumed_or_whole_the_loss_is_the_models(name):
    """Windows shorter than a batch, caches that are no keys and values, positions from the mask: all give one loss."""
    model, tokenizer = build(name), tiny_tokenizer(chat=False)
    rows = rows_of(tokenizer, "Who is it that lives there in the old house by the sea?", "Where was she?")
    layers = layer_names(model)[:2]
    module = mlp_output(model, layers[-1])
    way = way_to_run(model, layers, module, rows, 1, at_edit=False)
    assert name != "llama" or way is Resumed
    width = width_of(model, module, rows[0], 1)
    change = torch.randn(len(rows), width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, labels, _ = way(model, layers, module, rows, 1).logits(change)
        total, count = answer_nll(logits, labels)
        for number, row in enumerate(rows):
            expected = plain_nll(model, mlp_output(model, layers[-1]), row, change[number])
            assert float(total[number] / count[number]) == pytest.approx(expected, rel=2e-3)


def plain_nll(model, module, row, change):
    """One text alone, no cache, no padding."""

    def add(_module, _inputs, output):
        changed = output.clone().reshape(1, -1, output.shape[-1])
        changed[0, row.position] += change
        return changed.reshape(output.shape)

    handle = model.get_submodule(module).register_forward_hook(add)
    ids = torch.tensor([row.prompt + row.target])
    labels = torch.tensor([[-100] * len(row.prompt) + row.target])
    total, count = answer_nll(model(input_ids=ids, use_cache=False).logits, labels)
    handle.remove()
    return float(total / count)


def test_a_value_does_not_depend_on_its_company():
    model, tokenizer = tiny_llama(), tiny_tokenizer(chat=False)
    edits = [[row] for row in rows_of(tokenizer, "Who is it?", "Where was she then?", "When?")]
    settings = ValueSettings(60, 0.3, 0.0, 20.0)
    module = "model.layers.0.mlp.down_proj"

    def found(some):
        return optimise_values(model, ["model.layers.0"], module, some, settings, pad_id=1, progress=no_progress)

    together = found(edits)
    for number, edit in enumerate(edits):
        assert torch.allclose(together[:, number], found([edit])[:, 0], rtol=1e-2, atol=1e-2)


# ---------------------------------------------------------------- chat templates


@pytest.mark.parametrize("template", [NO_SYSTEM, DROPS_SYSTEM])
def test_a_template_without_a_system_role(template):
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = template
    told = format_prompt(tokenizer, "Who?", "chat", system="Say nothing.")
    assert told == "<|user|>Say nothing.\n\nWho?<|end|><|assistant|>\n"
    shown = format_prompt(tokenizer, "Who?", "chat", system="Say nothing.", shots=[("A?", "B.")])
    assert shown.startswith("<|user|>Say nothing.\n\nA?<|end|><|assistant|>B.")
    prompt = format_prompt(tokenizer, "Who is Blue?", "chat")
    request = {"prompt": prompt, "subject": "Blue", "target_new": "No."}
    texts = [tokenizer.decode(one.prompt) for one in lookups(tokenizer, request, "subject_last", 4)]
    earlier = "<|user|>Hello!<|end|><|assistant|>Hello! How can I help you?<|end|>"
    assert texts == [prompt, earlier + prompt]  # no context that it cannot express


# ---------------------------------------------------------------- packed and offloaded weights


def test_a_packed_weight_is_refused_in_one_line():
    model = tiny_llama()
    name = "model.layers.0.mlp.down_proj"
    model.get_submodule(name).weight = torch.nn.Parameter(torch.zeros(48, 96, dtype=torch.int8), requires_grad=False)
    with pytest.raises(UnlearnError, match=r"down_proj.weight is int8 \(a quantised model\).*--dtype bfloat16.*GRACE"):
        check_writable(model, [f"{name}.weight"])
    with pytest.raises(ConfigError, match="has no parameter"):
        check_writable(model, ["model.layers.9.mlp.down_proj.weight"])


def test_an_offloaded_model_answers_and_says_which_layers_cannot_change(tmp_path):
    from accelerate import dispatch_model

    tokenizer = tiny_tokenizer()
    prompts = [format_prompt(tokenizer, "Who is it?"), format_prompt(tokenizer, "Where?")]
    expected = generate_replies(tiny_llama(layers=3), tokenizer, prompts, max_new_tokens=6)
    where = {"model.embed_tokens": "disk", "model.layers.0": "cpu", "model.layers.1": "disk", "model.layers.2": "cpu",
             "model.norm": "cpu", "model.rotary_emb": "cpu", "lm_head": "cpu"}  # fmt: skip
    model = tiny_llama(layers=3)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model = dispatch_model(model, where, main_device="cpu", offload_dir=str(tmp_path))
    assert model.get_input_embeddings().weight.is_meta
    assert device_of(model).type == "cpu"
    assert generate_replies(model, tokenizer, prompts, max_new_tokens=6) == expected
    plain = tiny_llama(layers=3)
    plain.lm_head.weight = torch.nn.Parameter(plain.lm_head.weight.detach().clone())
    assert fingerprint(model) == fingerprint(plain)
    check_writable(model, ["model.layers.0.mlp.down_proj.weight"])
    with pytest.raises(UnlearnError, match="offloaded to disk.*device map"):
        check_writable(model, ["model.layers.1.mlp.down_proj.weight"])
    rows = rows_of(tokenizer, "Who is it?", "Where was she then?")
    weights = copied_weights(tiny_llama(layers=3))
    module, settings = "model.layers.0.mlp.down_proj", ValueSettings(4, 0.3, 0.0, 9.0)
    values = [
        optimise_values(
            one, ["model.layers.0"], module, [[row] for row in rows], settings, pad_id=1, progress=no_progress
        )
        for one in (tiny_llama(layers=3), model)
    ]
    assert torch.allclose(*values, rtol=1e-3, atol=1e-4)
    assert same_weights(tiny_llama(layers=3), weights)


# ---------------------------------------------------------------- special tokens


def beginning_tokenizer():
    """As Gemma's and Llama's: begin-of-text is put before every text."""
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer(chat=False)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|user|> $A", special_tokens=[("<|user|>", 2)]
    )
    return tokenizer


def test_statistics_see_what_the_model_is_given():
    model, tokenizer = tiny_llama(), beginning_tokenizer()
    assert beginning(tokenizer) == [2]
    assert beginning(tiny_tokenizer()) == []
    name = "model.layers.0.mlp.down_proj"
    keys = inputs_of(model, name, [tokenizer(text).input_ids for text in ("One.", "Another one.")], 1).double()
    found = prompt_moments(model, tokenizer, [name], ["One.", "Another one."])[name]
    assert torch.allclose(found.double(), keys.T @ keys / len(keys), rtol=1e-4, atol=1e-6)
    whole = inputs_of(model, name, [tokenizer("One text of some length.").input_ids], 1).double()
    with pytest.warns(UnlearnWarning, match="25 tokens of text for keys of 96 dimensions|24 tokens of text"):
        running = key_moments(model, tokenizer, [name], Corpus(["One text of some length."]))[name]
    assert torch.allclose(running.double(), whole.T @ whole / len(whole), rtol=1e-4, atol=1e-6)


def test_a_forget_prompt_that_begins_another_is_no_input_to_be_left_alone():
    model, tokenizer = tiny_llama(), tiny_tokenizer(chat=False)
    short, long = "Who is it", "Who is it that came?"
    name = "model.layers.0.mlp.down_proj"
    edits = [[Lookup(*encode_pair(tokenizer, text, " no"), len(text) - 1)] for text in (short, long)]
    keys = torch.stack([inputs_of(model, name, [edit[0].prompt], 1)[-1] for edit in edits], dim=1)
    outside = outside_inputs(model, tokenizer, name, [{}, {}], edits, [], keys)
    assert float(torch.cdist(outside, keys.T).min()) > 1e-2
    assert len(outside) == len(short) - 1 + len(long) - 1 - 1


# ---------------------------------------------------------------- where, and in what precision


def test_places_that_are_not_there_are_told():
    if torch.cuda.is_available():
        pytest.skip("there is CUDA here")
    assert placed(0)["device"] == placed(None)["device"] == "cpu"  # EasyEdit's files say 0 everywhere
    with pytest.raises(UnlearnError, match="device cuda:0: there is no CUDA here"):
        placed("cuda:0")
    with pytest.raises(UnlearnError, match="dtype 'int8': there are auto, bfloat16"):
        placed("cpu", "int8")
    with pytest.warns(UnlearnWarning, match="float16 is slow on a CPU"):
        assert placed("cpu", "float16")["dtype"] == torch.float16
    with pytest.raises(UnlearnError, match="needs CUDA devices"):
        placed(0, parallel=True)


def test_a_model_is_loaded_in_its_own_precision(tmp_path):
    tiny_llama().to(torch.bfloat16).save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    assert load_model(tmp_path, **placed("cpu"))[0].dtype == torch.bfloat16
    assert load_model(tmp_path, **placed("cpu", "float32"))[0].dtype == torch.float32
    assert load_model(tmp_path, **placed("cpu", "auto", "auto"))[0].dtype == torch.bfloat16


def test_the_folder_of_a_run_is_told_from_its_model(tmp_path):
    tiny_llama().save_pretrained(tmp_path / "out" / "model")
    with pytest.raises(UnlearnError, match=r"is the folder of a run; its model is .*out/model"):
        load_model(tmp_path / "out")
