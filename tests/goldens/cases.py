"""What the methods compute, written down: logits after each of them, on models that are made here from nothing.

``python tests/goldens/cases.py`` writes the file anew; do so only where a number is meant to change, and say why.
"""

from __future__ import annotations

import random
import string
import sys
import tempfile
from pathlib import Path

import torch
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from conftest import FACTS, tiny_gpt2, tiny_llama, tiny_tokenizer

from easyedit_unlearn import ForgetSample, UnlearnHyperParams, detach, unlearning_requests

TINY = Path(__file__).with_name("tiny.safetensors")
EMBEDDED = Path(__file__).with_name("embedded.safetensors")
SAMPLES = [ForgetSample(id=str(i), question=q, answer=a, subject=s) for i, (q, a, s) in enumerate(FACTS)]
TRAINED = {"NPO": {"beta": 0.1}, "RMU": {"layer": 1, "steering_coeff": 5.0}}
NAMES = {
    "llama": ("model.layers.{}", "model.layers.{}.mlp", "model.layers.{}.mlp.down_proj", "model.norm", "lm_head"),
    "gpt2": ("transformer.h.{}", "transformer.h.{}.mlp", "transformer.h.{}.mlp.c_proj", "transformer.ln_f", "lm_head"),
}
METHODS = ("ROME", "MEMIT", "AlphaEdit", "GRACE", "WISE", "NPO", "RMU", "LUNAR")


def from_nothing(model):
    """Weights that no library's initialisation decides, so that every version begins with the same ones."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in sorted(dict(model.named_parameters()).items()):
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * drawn if parameter.ndim == 1 and "weight" in name else 0.15 * drawn)
    return model.eval()


def tiny(family):
    if family == "llama":
        return from_nothing(tiny_llama(layers=3)), tiny_tokenizer()
    return from_nothing(tiny_gpt2(positions=4096, layers=3)), tiny_tokenizer(chat=False)


def settings(method, family, corpus):
    """The YAML of a method for a tiny model."""
    layer, mlp, rewrite, norm, head = NAMES[family]
    native = {"corpus": str(corpus), "contexts": 2, "corpus_tokens": 4096, "value_steps": 6, "passes": 1}
    values = {"alg_name": method, "model_name": "unset", "device": "cpu", "max_length": 256}
    if method in ("ROME", "MEMIT", "AlphaEdit"):
        values |= {
            "layers": [0] if method == "ROME" else [0, 1], "fact_token": "subject_last", "v_num_grad_steps": 6,
            "v_lr": 0.3, "v_loss_layer": 2, "v_weight_decay": 1e-3, "clamp_norm_factor": 4, "kl_factor": 0.0625,
            "mom2_adjustment": True, "rewrite_module_tmp": rewrite, "layer_module_tmp": layer, "mlp_module_tmp": mlp,
            "attn_module_tmp": "", "ln_f_module": norm, "lm_head_module": head, "mom2_dataset": "none",
            "mom2_n_samples": 1, "mom2_dtype": "float32", "stats_dir": "",
        }  # fmt: skip
        if method != "ROME":
            values["mom2_update_weight"] = 20
        if method == "AlphaEdit":
            values["L2"], native["null_space_dimensions"] = 1.0, 40
    elif method in ("GRACE", "WISE"):
        weight = rewrite.replace(".{}", "[0]") + ".weight"
        values |= {"inner_params": [weight], "edit_lr": 0.5, "n_iter": 6}
        if method == "GRACE":
            values["eps"] = 50.0
        if method == "WISE":
            values |= {"act_margin": [1.0, 5.0, 2.0], "mask_ratio": 0.5, "norm_constraint": 1.0}
    elif method == "LUNAR":
        values |= {
            "layer": 1,
            "coeff": 2.0,
            "tokens": "subject",
            "retain_weight": 0.5,
            "corpus_weight": 2.0,
            "rescale": True,
        }
    else:
        values |= {"learning_rate": 1e-3, "num_train_epochs": 3, "per_device_train_batch_size": 2} | TRAINED[method]
    values["unlearn"] = {
        "engine": "native", "native": native, "answers": "dataset", "max_new_tokens": 8,
        "target": {"builder": "fixed", "text": "No idea."},
    }  # fmt: skip
    if method in ("NPO", "RMU", "LUNAR"):
        del values["unlearn"]["engine"]
    return values


def edited(model, tokenizer, path, overrides=None, samples=SAMPLES[:2], retain=SAMPLES[2:]):
    """Logits at the end of every prompt, after the method has forgotten ``samples``, through EasyEdit's BaseEditor."""
    from easyeditor import BaseEditor

    hparams = UnlearnHyperParams.from_hparams(path, overrides=overrides)
    hparams.model_name = (model, tokenizer)
    editor = BaseEditor.from_hparams(hparams)
    arguments = unlearning_requests(editor, samples, retain=retain)
    if len(arguments["prompts"]) > 1 and hparams.alg_name != "ROME":
        editor.hparams.batch_size = len(arguments["prompts"])
        editor.batch_edit(**arguments, sequential_edit=True, verbose=False)
    else:
        editor.edit(**arguments, sequential_edit=True, verbose=False)
    return ends(editor.model, tokenizer, [*samples, *retain], hparams.unlearn.prompt)


def ends(model, tokenizer, samples, style):
    """(prompts, vocabulary)."""
    asked = [{"role": "user", "content": None}]
    found = []
    for sample in samples:
        asked[0]["content"] = text = sample.question
        if tokenizer.chat_template and style != "raw":
            text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, return_tensors="pt").input_ids
        with torch.no_grad():
            found.append(model(input_ids=ids).logits[0, -1].float())
    return torch.stack(found)


def varied_text():
    """So that key covariances have full rank, and rounding on another processor stays rounding."""
    draw = random.Random(0)
    words = [
        "".join(draw.choices(string.ascii_letters + string.digits + ".,?!'", k=draw.randint(1, 9))) for _ in range(900)
    ]
    return "\n".join(" ".join(words[start : start + 9]) for start in range(0, len(words), 9))


def tiny_cases(folder):
    """By name, a function that gives logits (prompts, vocabulary)."""
    corpus = folder / "corpus.txt"
    corpus.write_text(varied_text())

    def run(family, method, overrides=None):
        path = folder / f"{family}-{method}.yaml"
        path.write_text(yaml.safe_dump(settings(method, family, corpus)))
        model, tokenizer = tiny(family)
        return edited(model, tokenizer, path, overrides)

    cases = {
        f"{family}/{method}": (lambda family=family, method=method: run(family, method))
        for family in NAMES
        for method in METHODS
    }
    merges = {"concat": {"merger": "concat", "size": 2}, "shared_value": {"merger": "shared_value", "size": 2}}
    for name, merge in merges.items():
        cases[f"llama/MEMIT/{name}"] = lambda merge=merge: run("llama", "MEMIT", {"unlearn.merge": merge})
    targets = {"template": {"builder": "template"}, "idk": {"builder": "idk"}, "empty": {"builder": "empty"}}
    for name, target in targets.items():
        cases[f"llama/AlphaEdit/{name}"] = lambda target=target: run("llama", "AlphaEdit", {"unlearn.target": target})
    return cases


def embedded_cases(folder):
    """The shipped files with few steps, one fact, on the real model; every 64th logit."""
    from easyedit_unlearn import embedded_model

    corpus = folder / "corpus.txt"
    corpus.write_text("\n".join(f"Plain text, line {i}, of no interest at all." for i in range(200)))
    japan = [ForgetSample(id="1", question="What is the capital of Japan?", answer="Tokyo", subject="Japan")]
    names = ("France", "Italy", "Egypt")
    kept = [
        ForgetSample(id=n, question=f"What is the capital of {n}?", answer=a, subject=n)
        for n, a in zip(names, ("Paris", "Rome", "Cairo"), strict=True)
    ]
    files = {method: f"{method}/smollm2-135m{'-native' if method == 'ROME' else ''}" for method in METHODS}
    fewer = {"ROME": "v_num_grad_steps", "MEMIT": "v_num_grad_steps", "AlphaEdit": "v_num_grad_steps"}

    def run(method):
        given = {
            "unlearn.answers": "dataset",
            "unlearn.native.corpus": str(corpus),
            "unlearn.native.products": "float32",
        }
        given |= {fewer[method]: 4} if method in fewer else {}
        given |= {"n_iter": 4, "unlearn.native.value_steps": 4} if method in ("GRACE", "WISE") else {}
        given |= {"num_train_epochs": 1, "rounds": 1} if method in ("NPO", "RMU") else {}
        model, tokenizer = embedded_model()
        found = edited(model, tokenizer, files[method], given, japan, kept)
        detach(model)
        return found[:, ::64].contiguous()

    return {f"embedded/{method}": (lambda method=method: run(method)) for method in METHODS}


def main() -> None:
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as scratch:
        for path, cases in ((TINY, tiny_cases), (EMBEDDED, embedded_cases)):
            found = {}
            for name, case in cases(Path(scratch)).items():
                found[name] = case()
                print(name, float(found[name].abs().max()), flush=True)
            save_file(found, path)


if __name__ == "__main__":
    main()
