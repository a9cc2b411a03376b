"""Run EasyEdit: its hparams classes, an editor, and one unlearning run through ``BaseEditor``."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

from easyedit_unlearn.components import Progress
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.errors import HostError, UnlearnWarning, in_one_line
from easyedit_unlearn.host.find import HostInfo, require_host
from easyedit_unlearn.host.serving import bare_model, take_over
from easyedit_unlearn.host.session import active, host_module, session


def import_host() -> HostInfo:
    """Import EasyEdit (5 to 20 s the first time). Raises HostError when it is missing or does not import."""
    info = require_host()
    try:
        host_module("")
    except ImportError as error:
        order = (
            "; the release needs `import easyedit_unlearn` before `import easyeditor`" if info.kind == "release" else ""
        )
        raise HostError(f"EasyEdit ({info}, {info.path}) does not import: {error}{order}") from error
    return info


def make_editor(hparams: UnlearnHyperParams) -> Any:
    """EasyEdit's own ``BaseEditor`` for these hparams."""
    import_host()
    return host_module("editors.editor").BaseEditor.from_hparams(hparams)


@contextmanager
def undone_after(model: Any, hparams: UnlearnHyperParams, progress: Progress) -> Iterator[None]:
    """Edits made within report to ``progress``, and are taken back bitwise at the end, come what may."""
    with session(model, hparams.unlearn.seed) as now:
        now.progress = progress
        now.guard.keep(hparams.method.parameters(model, hparams))
        try:
            yield
        finally:
            now.guard.restore()


def run_edits(editor: Any, requests: Mapping[str, Any], progress: Progress) -> None:
    """Send all requests through ``BaseEditor`` so that every edit stays; the edited model is ``editor.model`` then.

    In one batch where the method takes one, or in several of ``batch_size``, where that is more than EasyEdit's 1; else
    one after the other. EasyEdit's own teacher-forced metrics are left out: they are not asked for here, and would be
    timed with the edit.
    """
    hparams: UnlearnHyperParams = editor.hparams
    count = len(requests["prompts"])
    batch = hparams.method.batchable and hparams.unlearn.mode != "sequential"
    asked = getattr(hparams, "batch_size", 1)
    if hasattr(hparams, "batch_size"):
        hparams.batch_size = 1 if not batch else asked if asked > 1 else count
    host = hparams.method.engine == "host"
    advance = progress(hparams.alg_name, count) if host else None
    with (
        _silent(),
        _counted(editor, advance),
        _unscored(),
        in_one_line(f"EasyEdit's {hparams.alg_name} failed", HostError) if host else nullcontext(),
    ):
        call = editor.batch_edit if batch else editor.edit
        _, edited, _ = call(**requests, sequential_edit=True, verbose=False)
        editor.model = bare_model(edited)
    now = active()
    if now is not None:
        now.guard.reset_flags()  # EasyEdit's LoRA leaves checkpointing on and the cache off
    if hparams.alg_name in ("GRACE", "WISE") and edited is not editor.model:
        take_over(editor.model, editor.tok, hparams, requests)


@contextmanager
def _unscored() -> Iterator[None]:
    module = host_module("editors.editor")
    score = module.compute_edit_quality
    module.compute_edit_quality = lambda *_args, **_kwargs: {"locality": {}, "portability": {}}
    try:
        yield
    finally:
        module.compute_edit_quality = score


@contextmanager
def _counted(editor: Any, advance: Any) -> Iterator[None]:
    apply = editor.apply_algo

    def counted(model: Any, tok: Any, requests: Any, *args: Any, **kwargs: Any) -> Any:
        result = apply(model, tok, requests, *args, **kwargs)
        if advance:
            advance(len(requests))
        return result

    editor.apply_algo = counted
    try:
        yield
    finally:
        editor.apply_algo = apply


@contextmanager
def _silent() -> Iterator[None]:
    """EasyEdit prints every optimisation step; our own bars say what is running."""
    sink = io.StringIO()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", UnlearnWarning)
        with contextlib.redirect_stdout(sink), contextlib.redirect_stderr(sink):
            yield
    for ours in caught:
        warnings.warn_explicit(ours.message, ours.category, ours.filename, ours.lineno)
