"""What an untouched model was found to say, kept on disk: asked the same again, it says the same.

Only what the model did is kept, never a score: metrics are computed anew, so none can be stale.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter

from easyedit_unlearn.caches import entry, keep, read
from easyedit_unlearn.model.device import device_of
from easyedit_unlearn.model.processes import alone
from easyedit_unlearn.types import PreTrainedModel, PreTrainedTokenizerBase
from easyedit_unlearn.versions import versions

T = TypeVar("T")


class Stored:
    """The evaluations of one model as it is now; whoever changes its weights may not ask here.

    A file is named by the hash of all that decides what is in it: every weight, configuration and precision, the
    token ids of what is asked, how it is asked, the code that asks, and the versions of all packages. What does not
    read back, or is evaluated by several processes, is computed.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer, self._state = model, tokenizer, ""

    def get(self, kind: type[T], texts: Sequence[str], how: Any, make: Callable[[], T]) -> T:
        """``make()``, or what it gave before. ``texts``: all that is asked, answers included; ``how``: the settings."""
        if not alone() or _acted_on(self._model):
            return make()
        path, adapter = entry("evaluations", self._key(texts, how), ".json"), TypeAdapter(kind)
        content = read(path)
        with suppress(ValueError):
            if content is not None:
                return adapter.validate_json(content)
        found = make()
        with suppress(ValueError):  # what JSON cannot hold costs the memory, not the result
            keep(path, adapter.dump_json(found))
        return found

    def _key(self, texts: Sequence[str], how: Any) -> str:
        self._state = self._state or json.dumps([_state(self._model), _spelling(self._tokenizer)])
        ids = [list(self._tokenizer(text).input_ids) for text in texts]
        return hashlib.sha256(json.dumps([self._state, texts, ids, how], default=str).encode()).hexdigest()


@cache
def _code() -> str:
    """Of everything that asks: a developer changes it without a new version."""
    package = Path(__file__).parents[1]
    files = [file for room in ("evaluation", "model", "editors") for file in sorted((package / room).glob("*.[pt]*"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def _acted_on(model: PreTrainedModel) -> bool:
    """True if something that is in no fingerprint changes what the model says."""
    from easyedit_unlearn.model.memories import Adapter

    hooks = [hook for module in model.modules() for hook in module._forward_hooks.values()]
    return hasattr(model, "peft_config") or any(not isinstance(hook, Adapter) for hook in hooks)


def _spelling(tokenizer: PreTrainedTokenizerBase) -> str:
    """How it makes text of tokens, and where a reply ends."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    tokens = backend.to_str() if backend is not None else repr(sorted(tokenizer.get_vocab().items()))
    return hashlib.sha256(f"{tokens}{tokenizer.all_special_ids}{tokenizer.eos_token_id}".encode()).hexdigest()


def _state(model: PreTrainedModel) -> str:
    from easyedit_unlearn.model.weights import fingerprint

    config = {key: value for key, value in model.config.to_dict().items() if "name_or_path" not in key}
    ends = str(getattr(model, "generation_config", None) and model.generation_config.eos_token_id)
    where = [str(model.dtype), device_of(model).type, ends, versions(), _code()]
    return json.dumps([fingerprint(model), config, *where], default=str, sort_keys=True)
