"""Stand-ins for packages that EasyEdit imports at its top but that editing a language model never uses.

They exist only while EasyEdit is being imported, and only for packages that are absent. Using one raises an error
that names the missing package.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

OPTIONAL = frozenset(
    """
    PIL av bitsandbytes cv2 datasets decord einops fairscale fastchat github gpustat higher hydra iopath jsonlines
    langchain matplotlib nltk omegaconf openai pandas parameterized peft portalocker qwen_vl_utils rouge scipy seaborn
    sentence_transformers sklearn slack_sdk spacy tabulate tiktoken timm torchvision transformer_lens visualdl wandb
    webdataset zhipuai
    """.split()
)
# Gone from transformers 5.24; EasyEdit's main branch imports it for UNKE only.
REMOVED = frozenset({"transformers.modeling_attn_mask_utils"})
# Present in the release, but broken under transformers 4.56 and later; they serve its multimodal editors only.
BROKEN_IN_RELEASE = frozenset({"easyeditor.trainer.blip2_models", "easyeditor.dataset.processor.blip_processors"})


class _Stub(type):
    """A class that stands for anything: a base class, a decorator's module, a type in an annotation."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return make_stub(f"{cls.__qualname__}.{name}")

    def __getitem__(cls, _item: Any) -> Any:  # EasyEdit takes even typing's names out of one such package
        return cls

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls.__dict__.get("_is_stub"):
            package = cls.__qualname__.split(".")[0]
            lack = f"the package {package} is not installed" if package in OPTIONAL else f"{package} no longer has it"
            raise ModuleNotFoundError(f"EasyEdit needs {cls.__qualname__} here, and {lack}", name=package)
        return super().__call__(*args, **kwargs)


def make_stub(name: str) -> Any:
    return _Stub(name.rsplit(".", 1)[-1], (), {"_is_stub": True, "__qualname__": name})


class Placeholder(ModuleType):
    """A module whose every attribute is a stub."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return make_stub(f"{self.__name__}.{name}")


class PlaceholderLoader:
    """Makes a :class:`Placeholder` for whatever it is asked."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return Placeholder(spec.name)  # importlib sets __path__ from the spec

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


class _LastFinder:
    """Comes last on ``sys.meta_path``, so that it sees only what is not installed."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: Any = None) -> ModuleSpec | None:
        parent = sys.modules.get(name.rpartition(".")[0])
        absent = name.partition(".")[0] in OPTIONAL and isinstance(parent, Placeholder | None)
        if absent or name in REMOVED:
            return ModuleSpec(name, PlaceholderLoader(), is_package=True)  # type: ignore[arg-type]
        return None


@contextmanager
def placeholders() -> Iterator[None]:
    """Within, absent packages that EasyEdit can do without import as placeholders; afterwards they are absent again."""
    # transformers asks once what is installed and remembers the answer: it must ask before the placeholders are there.
    import transformers.modeling_utils
    import transformers.trainer  # noqa: F401

    finder = _LastFinder()
    sys.meta_path.append(finder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for name, module in list(sys.modules.items()):
            if isinstance(module, Placeholder) and not name.startswith("easyeditor."):
                del sys.modules[name]
                parent, _, child = name.rpartition(".")
                if parent in sys.modules:
                    vars(sys.modules[parent]).pop(child, None)
