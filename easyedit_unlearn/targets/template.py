"""Refusals that name what is asked about, and the literal empty answer."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, field_validator

from easyedit_unlearn.components import BuildContext, Options, TargetBuilder
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.types import ForgetSample, Target

SPECIFIC_REFUSAL = "I'm sorry, but I can't share information about {subject}."


class TemplateOptions(Options):
    text: str = Field(default=SPECIFIC_REFUSAL, min_length=1)

    @field_validator("text")
    @classmethod
    def _holds_subject(cls, text: str) -> str:
        if "{subject}" not in text:
            raise ValueError("must contain {subject}; for one sentence without it use the builder 'fixed'")
        return text


class Template(TargetBuilder):
    name = "template"
    needs_subject = True
    Options = TemplateOptions

    def build(
        self, samples: Sequence[ForgetSample], options: TemplateOptions, context: BuildContext
    ) -> Sequence[Target]:
        for sample in samples:
            if sample.subject is None:
                raise DataError(f"target builder 'template' names the subject: give {sample.question!r} a 'subject'")
        return [Target(s.id, filled(options.text, s.subject or ""), "template") for s in samples]


class Empty(TargetBuilder):
    name = "empty"
    may_be_empty = True

    def build(self, samples: Sequence[ForgetSample], options: Options, context: BuildContext) -> Sequence[Target]:
        return [Target(sample.id, "") for sample in samples]


def filled(text: str, subject: str) -> str:
    """``str.format`` would read braces of the text or the subject as fields."""
    return text.replace("{subject}", subject)
