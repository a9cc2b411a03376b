"""An edit as a delta, as LoRA, as a checkpoint: exact, checked by fingerprints, and taken off again bitwise."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import copied_weights, same_weights, tiny_gpt2, tiny_llama, tiny_tokenizer
from safetensors.torch import load_file, save_file

from easyedit_unlearn.artefacts.delta import apply, revert, save_delta
from easyedit_unlearn.artefacts.export import export, put_on
from easyedit_unlearn.artefacts.journal import JOURNAL, Journal
from easyedit_unlearn.artefacts.lora import low_rank_change
from easyedit_unlearn.artefacts.tensors import Checkpoint
from easyedit_unlearn.errors import ConfigError, DataError, OutputExistsError, UnlearnError
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.model.load import load_model
from easyedit_unlearn.model.memories import Codebook, attach


def edit(model, rank=2, layers=(0, 1)):
    """As a locate-then-edit method changes a model: a low-rank matrix on each of some layers."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(1)
        for layer in layers:
            weight = model.model.layers[layer].mlp.down_proj.weight
            weight += (0.05 * torch.randn(weight.shape[0], rank) @ torch.randn(rank, weight.shape[1])).to(weight)


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
def both(request, tmp_path):
    """The folders of a model before and after an edit."""
    model, tokenizer = tiny_llama().to(request.param), tiny_tokenizer()
    save_checkpoint(model, tokenizer, tmp_path / "base")
    edit(model)
    save_checkpoint(model, tokenizer, tmp_path / "edited")
    return tmp_path / "base", tmp_path / "edited"


def test_a_delta_is_put_on_and_taken_off_exactly(both, tmp_path):
    base, edited = both
    save_delta(base, edited, tmp_path / "delta")
    assert len(load_file(tmp_path / "delta" / "delta.safetensors")) == 2  # only what changed
    shutil.copytree(base, tmp_path / "mine")
    apply(tmp_path / "delta", tmp_path / "mine")
    assert same_weights(load_model(str(edited))[0], copied_weights(load_model(str(tmp_path / "mine"))[0]))
    with pytest.raises(DataError, match="fingerprint"):
        apply(tmp_path / "delta", tmp_path / "mine")  # not twice
    revert(tmp_path / "delta", tmp_path / "mine")
    assert (tmp_path / "mine" / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    with pytest.raises(DataError, match="fingerprint"):
        revert(tmp_path / "delta", tmp_path / "mine")


def test_shards_are_one_model(both, tmp_path):
    base, edited = both
    model, tokenizer = load_model(str(base))
    model.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    assert Checkpoint(tmp_path / "sharded").fingerprint() == Checkpoint(base).fingerprint()
    save_delta(base, edited, tmp_path / "delta")
    apply(tmp_path / "delta", tmp_path / "sharded")
    assert Checkpoint(tmp_path / "sharded").fingerprint() == Checkpoint(edited).fingerprint()
    index = tmp_path / "sharded" / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "../base/model.safetensors"}}))
    with pytest.raises(DataError, match="outside the folder"):
        Checkpoint(tmp_path / "sharded")


class Killed(BaseException):
    """As SIGKILL: nothing is cleaned up that a handler would clean up."""


@pytest.mark.parametrize("first", [apply, revert])
@pytest.mark.parametrize("then", [apply, revert])
@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_killed_command_is_finished_or_taken_back(first, then, renames, both, tmp_path, monkeypatch):
    base, edited = both
    (edited / "system_prompt.txt").write_text("Say nothing.")
    save_delta(base, edited, tmp_path / "delta")
    mine = tmp_path / "mine"
    load_model(str(base))[0].save_pretrained(mine, max_shard_size="50KB")
    if first is revert:
        apply(tmp_path / "delta", mine)
    done, replace = [], Path.replace

    def dies(path, target):
        if "model-0" in path.name:
            done.append(path)
            if len(done) > renames:
                raise Killed
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", dies)
    with contextlib.suppress(Killed):
        first(tmp_path / "delta", mine)
        then = revert if first is apply else apply  # it came through, and its opposite takes it back as ever
    monkeypatch.setattr(Path, "replace", replace)
    assert renames or (mine / JOURNAL).exists()
    shard = sorted(mine.glob("model-*.safetensors"))[0]
    (mine / f".{shard.name}.77").write_bytes(b"half")
    then(tmp_path / "delta", mine)
    wanted = edited if then is apply else base
    assert Checkpoint(mine).fingerprint() == Checkpoint(wanted).fingerprint()
    assert (mine / "system_prompt.txt").is_file() == (then is apply)
    assert not (mine / JOURNAL).exists()


def test_an_interrupted_command_of_another_delta_is_told(both, tmp_path):
    base, edited = both
    save_delta(base, edited, tmp_path / "delta")
    shutil.copytree(base, tmp_path / "mine")
    Journal("apply", "a", "b", {}).write(tmp_path / "mine")
    with pytest.raises(UnlearnError, match="was interrupted here"):
        load_model(str(tmp_path / "mine"))
    with pytest.raises(DataError, match="was interrupted here"):
        save_delta(base, tmp_path / "mine", tmp_path / "other")
    with pytest.raises(DataError, match="apply of another delta was interrupted here"):
        apply(tmp_path / "delta", tmp_path / "mine")
    delta = Checkpoint(base).fingerprint(), Checkpoint(edited).fingerprint()
    Journal("apply", *delta, {"model.safetensors": ("0", "1")}).write(tmp_path / "mine")
    with pytest.raises(DataError, match=r"model\.safetensors was changed after an interrupted apply"):
        apply(tmp_path / "delta", tmp_path / "mine")
    for content in ("{", "[]", '{"command": "apply", "base": "", "edited": "", "files": {"../x": ["", ""]}}'):
        (tmp_path / "mine" / JOURNAL).write_text(content)
        with pytest.raises(DataError, match="is no journal of this package"):
            revert(tmp_path / "delta", tmp_path / "mine")


def test_a_damaged_delta_changes_nothing(both, tmp_path):
    base, edited = both
    save_delta(base, edited, tmp_path / "delta")
    before = (base / "model.safetensors").read_bytes()
    file = tmp_path / "delta" / "delta.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        apply(tmp_path / "delta", base)
    save_file({"a": torch.zeros(2)}, file, metadata={"easyedit_unlearn": "[]"})
    with pytest.raises(DataError, match="not a delta"):
        apply(tmp_path / "delta", base)
    told = json.dumps({"base": "", "edited": "", "beside": {"../../evil": ""}})
    save_file({}, file, metadata={"easyedit_unlearn": told})
    with pytest.raises(DataError, match="no delta holds"):
        apply(tmp_path / "delta", base)
    assert (base / "model.safetensors").read_bytes() == before
    with pytest.raises(DataError, match="no edit to export"):
        save_delta(base, base, tmp_path / "nothing")
    with pytest.raises(DataError, match="is not a checkpoint"):
        save_delta(tmp_path / "none", base, tmp_path / "nothing")


def test_a_memory_beside_the_weights_goes_with_its_delta(tmp_path):
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    save_checkpoint(model, tokenizer, tmp_path / "base")
    keys, values = torch.randn(1, 96), torch.randn(1, 48)
    attach(model, "model.layers.0.mlp.down_proj", Codebook(keys=keys, values=values, radii=torch.ones(1)))
    save_checkpoint(model, tokenizer, tmp_path / "edited")
    with pytest.raises(UnlearnError, match="cannot be merged"):
        export(tmp_path / "edited", "lora", tmp_path / "lora", base=str(tmp_path / "base"))
    save_delta(tmp_path / "base", tmp_path / "edited", tmp_path / "delta")
    apply(tmp_path / "delta", tmp_path / "base")
    beside = tmp_path / "base" / "unlearning_adapter.safetensors"
    assert beside.read_bytes() == (tmp_path / "edited" / beside.name).read_bytes()
    with pytest.raises(UnlearnError, match="another edit"):
        apply(tmp_path / "delta", tmp_path / "base")
    revert(tmp_path / "delta", tmp_path / "base")
    assert not beside.exists()


@pytest.mark.filterwarnings("ignore::FutureWarning")  # PEFT asks transformers 5 for a switch by its old name
def test_a_low_rank_edit_becomes_exactly_that_adapter(tmp_path):
    peft = pytest.importorskip("peft")
    model, tokenizer = tiny_llama(), tiny_tokenizer()
    save_checkpoint(model, tokenizer, tmp_path / "base")
    edit(model, rank=1, layers=[0])
    edit(model, rank=3, layers=[1])
    save_checkpoint(model, tokenizer, tmp_path / "edited")
    change = low_rank_change(load_model(str(tmp_path / "base"))[0], model)
    assert {name: len(a) for name, (a, _) in change.factors.items()} == {
        "model.layers.0.mlp.down_proj": 1, "model.layers.1.mlp.down_proj": 3,
    }  # fmt: skip
    told = export(tmp_path / "edited", "lora", tmp_path / "lora", base=str(tmp_path / "base"))
    assert "rank 3 at most" in told
    wrapped = peft.PeftModel.from_pretrained(load_model(str(tmp_path / "base"))[0], tmp_path / "lora")
    ids = torch.arange(3, 60)[None]
    with torch.inference_mode():
        assert (wrapped(input_ids=ids).logits - model(input_ids=ids).logits).abs().max() < 1e-4


def test_what_is_not_of_low_rank_says_what_to_take_instead(tmp_path):
    base, edited = tiny_llama(), tiny_llama()
    with pytest.raises(UnlearnError, match="the same"):
        low_rank_change(base, edited)
    edit(edited, rank=48, layers=[0])
    with pytest.raises(UnlearnError, match="--as delta"):
        low_rank_change(base, edited)
    edited = tiny_llama()
    edited.model.norm.weight.data += 1
    with pytest.raises(UnlearnError, match=r"model.norm.weight changed too"):
        low_rank_change(base, edited)


def test_transposed_layers_are_the_same_to_lora(tmp_path):
    pytest.importorskip("peft")
    model, tokenizer = tiny_gpt2(), tiny_tokenizer(chat=False)
    save_checkpoint(model, tokenizer, tmp_path / "base")
    with torch.no_grad():
        weight = model.transformer.h[0].mlp.c_proj.weight  # (in, out)
        weight += 0.1 * torch.outer(torch.linspace(-1, 1, weight.shape[0]), torch.linspace(0, 1, weight.shape[1]))
    save_checkpoint(model, tokenizer, tmp_path / "edited")
    assert "rank 1 at most" in export(tmp_path / "edited", "lora", tmp_path / "l", base=str(tmp_path / "base"))


def test_commands_say_what_is_missing(both, tmp_path):
    base, edited = both
    with pytest.raises(ConfigError, match="--as"):
        export(edited, "gguf", tmp_path / "x")
    with pytest.raises(ConfigError, match="--base"):
        export(edited, "delta", tmp_path / "x")
    (edited / "unlearned_from.json").write_text(json.dumps({"base": str(base)}))
    assert "MB" in export(edited, "delta", tmp_path / "delta")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        export(edited, "delta", tmp_path / "delta")
    with pytest.raises(ConfigError, match="--base"):
        export(tmp_path / "delta", "full", tmp_path / "full")
    export(tmp_path / "delta", "full", tmp_path / "full", base=str(base))
    assert Checkpoint(tmp_path / "full").fingerprint() == Checkpoint(edited).fingerprint()
    (edited / "system_prompt.txt").write_text("Say nothing.")
    export(edited, "full", tmp_path / "whole")
    assert (tmp_path / "whole" / "system_prompt.txt").read_text() == "Say nothing."
    assert json.loads((tmp_path / "whole" / "unlearned_from.json").read_text()) == {"base": str(base)}
    put_on(tmp_path / "delta", tmp_path / "full", tmp_path / "back", undo=True)
    assert Checkpoint(tmp_path / "back").fingerprint() == Checkpoint(base).fingerprint()
    assert Checkpoint(tmp_path / "full").fingerprint() == Checkpoint(edited).fingerprint()
