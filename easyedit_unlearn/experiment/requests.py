"""From forget samples to the keyword arguments of EasyEdit's ``BaseEditor.edit``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from easyedit_unlearn.components import BuildContext, Progress, no_progress
from easyedit_unlearn.config.hparams import UnlearnHyperParams
from easyedit_unlearn.config.settings import UnlearnSettings
from easyedit_unlearn.errors import ConfigError, DataError
from easyedit_unlearn.experiment.alike import with_groups
from easyedit_unlearn.experiment.subjects import needs_subjects, with_subjects
from easyedit_unlearn.host.retain import answer_pairs, reads_facts, retain_pairs, wants_retain, with_responses
from easyedit_unlearn.merging.check import check_requests
from easyedit_unlearn.model.prompting import format_prompt
from easyedit_unlearn.targets.check import check_targets
from easyedit_unlearn.tasks.records import check_samples
from easyedit_unlearn.tasks.splits import check_disjoint
from easyedit_unlearn.tasks.subjects import candidate_spans
from easyedit_unlearn.types import EditRequest, ForgetSample, PreTrainedModel, PreTrainedTokenizerBase, Query, Target


@dataclass(frozen=True)
class Prepared:
    """One target a sample, the requests made of them, and the keyword arguments of ``BaseEditor.edit``."""

    targets: list[Target]
    requests: list[EditRequest]
    arguments: dict[str, Any]


def unlearning_requests(
    editor: Any,
    samples: Sequence[ForgetSample],
    *,
    retain: Sequence[ForgetSample] | None = None,
    targets: Sequence[Target] | None = None,
) -> dict[str, Any]:
    """Build the refusal targets, merge the queries, and return what ``editor.edit`` or ``.batch_edit`` takes::

        editor = BaseEditor.from_hparams(UnlearnHyperParams.from_hparams("ROME/smollm2-135m"))
        metrics, edited_model, _ = editor.edit(**unlearning_requests(editor, samples), sequential_edit=True)

    Args:
        editor: a ``BaseEditor`` made from unlearning hparams.
        samples: what to forget. Where a method needs a subject and one has none, it is found by cause (see
            ``experiment.subjects``).
        retain: what to keep, for methods that train on it; by default what the hparams' ``unlearn.retain`` names.
        targets: refusals made already, one a sample in their order; by default those of ``unlearn.target``.

    Returns:
        ``prompts``, ``target_new``, ``ground_truth`` and, where there are any, ``subject``, ``rephrase_prompts``,
        ``retain`` ((prompt, answer) pairs), ``shared`` (further prompts and subjects by prompt) and ``answers`` (by
        prompt, what in a reply is the answer); the last three are taken by the plugin before EasyEdit sees the call.

    Raises:
        ConfigError: the editor was made from plain hparams.
        DataError: a target gives its answer away, a query would be lost, or a subject-keyed editor gets no usable
            subject.
    """
    hparams = editor.hparams
    if not isinstance(hparams, UnlearnHyperParams):
        raise ConfigError("unlearning_requests needs an editor made from UnlearnHyperParams.from_hparams(...)")
    return prepare(editor, samples, retain, targets).arguments


def prepare(
    editor: Any,
    samples: Sequence[ForgetSample],
    retain: Sequence[ForgetSample] | None,
    targets: Sequence[Target] | None = None,
) -> Prepared:
    """:func:`unlearning_requests`, with the targets and the requests that each cover some of the samples."""
    hparams: UnlearnHyperParams = editor.hparams
    check_samples(samples, [f"sample {sample.id}" for sample in samples], "the forget set")
    check_disjoint(forget=samples, retain=retain or [])
    samples = with_subjects(editor.model, editor.tok, samples, hparams)
    hparams = with_groups(editor.model, editor.tok, samples, hparams)
    answered = with_responses(editor.model, editor.tok, samples, hparams.unlearn)
    if targets is None:
        targets = build_targets(answered, hparams.unlearn, editor.model, editor.tok)
    requests = build_requests(answered, targets, hparams.unlearn)
    _check_shared(requests, hparams)
    _check_first_token(requests, samples, hparams)
    arguments = _arguments(requests, editor.tok, hparams)
    if reads_facts(hparams) or getattr(hparams, "rounds", 1) > 1:
        arguments["answers"] = _answers(requests, samples, arguments["prompts"])
    if retain is not None:
        kept = with_responses(editor.model, editor.tok, retain, hparams.unlearn)
        arguments["retain"] = answer_pairs(kept, editor.tok, hparams)
    elif wants_retain(hparams) and any(len(request.covers) > 1 for request in requests):
        # a merged prompt does not tell which questions of the retain task are being forgotten
        own = [format_prompt(editor.tok, sample.question, hparams.unlearn.prompt) for sample in samples]
        arguments["retain"] = retain_pairs(editor.model, editor.tok, hparams, own)
    return Prepared(list(targets), requests, arguments)


def check_subjects(
    samples: Sequence[ForgetSample], tokenizer: PreTrainedTokenizerBase, hparams: UnlearnHyperParams
) -> None:
    """Raise DataError, before any work is done, where a subject is needed and a question has none that can be found,
    or the method cannot edit at it. Of merged prompts, the subjects are checked when they are made."""
    if not needs_subjects(hparams):
        return
    for sample in samples:
        prompt = format_prompt(tokenizer, sample.question, hparams.unlearn.prompt)
        found = next((span for span in candidate_spans(sample.question) if prompt.count(span) == 1), None)
        if not (sample.subject or found):
            raise DataError(f"{hparams.alg_name}: no part of {sample.question!r} can be its subject; name one")
        if hparams.unlearn.merger.name in ("none", "auto"):
            _subject(Query(sample.question, sample.subject or found), prompt, hparams)


def build_targets(
    samples: Sequence[ForgetSample],
    settings: UnlearnSettings,
    model: PreTrainedModel | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: Progress = no_progress,
) -> list[Target]:
    """A refusal for each sample, in order, one for all that are merged. Raises DataError when one is missing, blank or
    gives its answer away."""
    context = BuildContext(settings.seed, model, tokenizer, settings.prompt, progress)
    groups = settings.merger.groups(samples, settings.merger_options)
    if all(len(group) == 1 for group in groups):
        targets = list(settings.builder.build(samples, settings.builder_options, context))
    else:
        built = settings.builder.build_groups(groups, settings.builder_options, context)
        by_id = {target.sample_id: target for target in built}
        targets = [by_id[sample.id] for sample in samples if sample.id in by_id]
    check_targets(samples, targets, settings.builder.name, may_be_empty=settings.builder.may_be_empty)
    return targets


def build_requests(
    samples: Sequence[ForgetSample], targets: Sequence[Target], settings: UnlearnSettings
) -> list[EditRequest]:
    """Merging, checked. Raises DataError when a query is lost or doubled, or targets in a group differ."""
    check_targets(samples, targets, settings.builder.name, may_be_empty=settings.builder.may_be_empty)
    requests = list(settings.merger.merge(samples, targets, settings.merger_options))
    check_requests(samples, targets, requests, settings.merger.name)
    return requests


def _arguments(requests: Sequence[EditRequest], tokenizer: Any, hparams: UnlearnHyperParams) -> dict[str, Any]:
    style = hparams.unlearn.prompt
    arguments: dict[str, Any] = {
        "prompts": [format_prompt(tokenizer, request.prompt, style) for request in requests],
        "target_new": [_target_text(request.target, tokenizer, hparams) for request in requests],
        "ground_truth": [request.ground_truth for request in requests],
    }
    named = hparams.method.engine == "native" and any(request.subject for request in requests)
    if hparams.method.needs_subject or named:
        arguments["subject"] = [
            _subject(request.queries[0], prompt, hparams)
            for request, prompt in zip(requests, arguments["prompts"], strict=True)
        ]
    if any(request.also for request in requests):
        arguments["shared"] = {
            prompt: [_shared(query, tokenizer, hparams) for query in request.also]
            for request, prompt in zip(requests, arguments["prompts"], strict=True)
        }
    if any(request.rephrase for request in requests):
        arguments["rephrase_prompts"] = [
            format_prompt(tokenizer, request.rephrase, style) if request.rephrase else None for request in requests
        ]
    return arguments


def _check_shared(requests: Sequence[EditRequest], hparams: UnlearnHyperParams) -> None:
    if any(request.also for request in requests) and not hparams.method.shares_values:
        raise ConfigError(
            f"{hparams.alg_name} ({hparams.engine} engine) edits one prompt at a time; queries share a value in our "
            "own editors (unlearn: {engine: native}). Choose those, or the merger concat",
            key="unlearn.merge.merger",
            value=hparams.unlearn.merger.name,
        )


def _check_first_token(
    requests: Sequence[EditRequest], samples: Sequence[ForgetSample], hparams: UnlearnHyperParams
) -> None:
    """A merged request's subject may be widened to the left, which moves its first token off what it is about."""
    subjects = {sample.subject for sample in samples}
    for request in requests:
        for query in request.queries:
            if str(getattr(hparams, "fact_token", "")).startswith("subject_first") and query.subject not in subjects:
                raise DataError(
                    f"{hparams.alg_name}: in the merged prompt {query.prompt!r} the subject had to be widened to "
                    f"{query.subject!r}, which begins elsewhere; choose fact_token subject_last, or another grouping"
                )


def _shared(query: Query, tokenizer: Any, hparams: UnlearnHyperParams) -> dict[str, str]:
    prompt = format_prompt(tokenizer, query.prompt, hparams.unlearn.prompt)
    return {"prompt": prompt, "subject": _subject(query, prompt, hparams)}


def _target_text(text: str, tokenizer: Any, hparams: UnlearnHyperParams) -> str:
    """EasyEdit's own engine looks at the first character of a target: an empty one is the end token in writing."""
    return text or ("" if hparams.method.engine == "native" else str(tokenizer.eos_token))


def _subject(request: Query, prompt: str, hparams: UnlearnHyperParams) -> str:
    """EasyEdit replaces the subject by ``{}`` and calls ``str.format``: it must stand there once, without braces.

    Where a method can do without it: "" for none, or for none that can be told from the rest of the prompt.
    """
    method = hparams.alg_name
    if not hparams.method.needs_subject:
        return request.subject if request.subject and prompt.count(request.subject) == 1 else ""
    if request.subject is None:
        raise DataError(f"{method} edits at the subject's tokens; give {request.prompt!r} a 'subject'")
    if prompt.count(request.subject) != 1:
        raise DataError(
            f"{method}: the subject {request.subject!r} must stand exactly once in the prompt {prompt!r}; "
            "choose a longer or rarer span of the question"
        )
    if "{" in prompt or "}" in prompt:
        raise DataError(f"{method}: EasyEdit formats its prompts, so {request.prompt!r} may not contain braces")
    return request.subject


def _answers(
    requests: Sequence[EditRequest], samples: Sequence[ForgetSample], prompts: Sequence[str]
) -> dict[str, list[str]]:
    """By formatted prompt, all that counts as the answer to any of the questions in it."""
    known = {sample.id: sample.answers for sample in samples}
    return {
        prompt: [answer for key in request.covers for answer in known[key]]
        for request, prompt in zip(requests, prompts, strict=True)
    }
