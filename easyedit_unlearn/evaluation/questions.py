"""What is asked of a model about its sets."""

from __future__ import annotations

from easyedit_unlearn.types import ForgetSample, Selection


def questions_of(selection: Selection) -> list[tuple[str, ForgetSample, str]]:
    """(group, sample, question) of every set, and of the forget set's rephrases."""
    rows = [(group, sample, sample.question) for group, samples in selection.groups().items() for sample in samples]
    rephrases = [("rephrase", sample, text) for sample in selection.forget for text in sample.rephrases]
    return rows + rephrases


def published_answers(sample: ForgetSample) -> list[str]:
    """The answer, the paraphrased answer or else the answer again, and the wrong ones, as TOFU publishes them."""
    paraphrased, perturbed = (sample.extras.get(key) for key in ("paraphrased_answer", "perturbed_answer"))
    correct = paraphrased if isinstance(paraphrased, str) and paraphrased.strip() else sample.answer
    wrong = perturbed if isinstance(perturbed, list) else []
    return [sample.answer, correct, *(text for text in wrong if isinstance(text, str) and text.strip())]
