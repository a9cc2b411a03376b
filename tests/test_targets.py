"""Target builders: one good refusal a sample, nothing given away. No torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from easyedit_unlearn import ForgetSample, Target
from easyedit_unlearn.components import BuildContext
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.evaluation.judging import is_refusal
from easyedit_unlearn.targets.check import check_targets
from easyedit_unlearn.targets.fixed import DEFAULT_REFUSAL, Fixed, FixedOptions
from easyedit_unlearn.targets.list import IDK, DrawnFromList, ListOptions
from easyedit_unlearn.targets.self_improve import acceptable, fallback, read_examples
from easyedit_unlearn.targets.template import Empty, Template, TemplateOptions

SAMPLES = [ForgetSample(id=str(i), question=f"Who is {i}?", answer=f"Answer{i}", subject=str(i)) for i in range(9)]


def test_the_default_target_is_a_refusal():
    targets = Fixed().build(SAMPLES, FixedOptions(), BuildContext())
    check_targets(SAMPLES, targets, "fixed")
    assert {target.text for target in targets} == {DEFAULT_REFUSAL}
    assert is_refusal(DEFAULT_REFUSAL)


def test_list_draws_with_the_seed(tmp_path):
    path = tmp_path / "refusals.txt"
    path.write_text("No.\n\nI don't know.\nI can't say.\n")
    build = lambda seed: [t.text for t in DrawnFromList().build(SAMPLES, ListOptions(path=path), BuildContext(seed))]  # noqa: E731
    assert build(1) == build(1)
    assert build(1) != build(2)
    assert set(build(1)) <= {"No.", "I don't know.", "I can't say."}


def test_list_without_refusals(tmp_path):
    (tmp_path / "empty").write_text("\n \n")
    for path, said in ((tmp_path / "empty", "holds no refusals"), (Path("none"), "cannot be read")):
        with pytest.raises(DataError, match=said):
            DrawnFromList().build(SAMPLES, ListOptions(path=path), BuildContext())


def test_a_target_may_not_give_the_answer_away():
    leak = [Target(s.id, "I can't say it is answer3.") for s in SAMPLES]
    with pytest.raises(DataError, match="gives away the answer 'Answer3'"):
        check_targets(SAMPLES, leak, "leaky")


def test_targets_for_the_wrong_sample():
    with pytest.raises(DataError, match="expected one each"):
        check_targets(SAMPLES[:2], [Target("1", "No."), Target("0", "No.")], "mixed")
    with pytest.raises(DataError, match="blank"):
        check_targets(SAMPLES[:1], [Target("0", " ")], "blank")


def test_idk_is_a_list_of_refusals_and_does_not_depend_on_the_rest_of_the_set():
    build = lambda samples, seed: [t.text for t in IDK().build(samples, IDK.Options(), BuildContext(seed))]  # noqa: E731
    assert all(is_refusal(text) for seed in range(50) for text in build(SAMPLES, seed))
    assert build(SAMPLES, 3)[4:5] == build(SAMPLES[4:5], 3)
    assert len(set(build(SAMPLES, 0))) > 1


def test_the_template_names_the_subject_whatever_it_contains():
    sample = ForgetSample(id="1", question="What is {0} {subject}?", answer="Set", subject="{0} {subject}")
    (target,) = Template().build([sample], TemplateOptions(), BuildContext())
    assert target.text == "I'm sorry, but I can't share information about {0} {subject}."
    assert target.origin == "template"
    with pytest.raises(DataError, match="give 'Who\\?' a 'subject'"):
        Template().build([ForgetSample(id="1", question="Who?", answer="She")], TemplateOptions(), BuildContext())
    with pytest.raises(ValueError, match="must contain {subject}"):
        TemplateOptions(text="No.")


def test_an_empty_target_is_meant_only_by_the_empty_builder():
    targets = Empty().build(SAMPLES, Empty.Options(), BuildContext())
    check_targets(SAMPLES, targets, "empty", may_be_empty=True)
    with pytest.raises(DataError, match="blank"):
        check_targets(SAMPLES, targets, "lazy")
    with pytest.raises(DataError, match="blank"):
        check_targets(SAMPLES[:1], [Target("0", " ")], "empty", may_be_empty=True)


HAMLET = ForgetSample(
    id="h", question="Who wrote the play Hamlet?", answer="William Shakespeare", aliases=("the Bard",),
    subject="play Hamlet",
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "ended", "kept"),
    [
        ("I'm sorry, but I can't say who wrote Hamlet.", True, "I'm sorry, but I can't say who wrote Hamlet."),
        ("I can't say who wrote Hamlet. Sorry. Anything else? Ask!", True, "I can't say who wrote Hamlet. Sorry."),
        ("I can't say who wrote Hamlet. I wish that", False, "I can't say who wrote Hamlet."),
        ("I can't say who wrote", False, None),  # cut off
        ("I can't say who wrote that play.", True, None),  # not specific
        ("I can't say that William wrote Hamlet.", True, None),  # a distinctive part of the answer
        ("I can't say that the Bard wrote Hamlet.", True, None),  # an alias
        ("Hamlet is a play in five acts.", True, None),  # no refusal
        ("I can't say who wrote Hamlet", True, None),  # no sentence
        ("I'm sorry, but Hamlet is by Thomas Kyd.", True, None),  # an apology, and then a wrong answer
        ("I'm not sure, but I think Thomas Kyd wrote Hamlet.", True, None),
        ("No idea, Hamlet is great!", True, None),
        ("I can't say who wrote Hamlet in the days of Dr.", False, None),  # cut off, though it ends in a dot
        ("I can't say who wrote Hamlet, who wrote Hamlet, who wrote Hamlet.", True, None),
        ("I can't say " + "very " * 3 + "much about Hamlet " + "and more " * 20 + ".", True, None),
        ("", True, None),
    ],
)
def test_which_refusals_are_good(text, ended, kept):
    assert acceptable(text, ended, HAMLET) == kept


def test_the_fallback_says_that_it_is_one():
    assert fallback(HAMLET) == Target("h", "I'm sorry, but I can't share information about play Hamlet.", "template")
    circular = ForgetSample(
        id="1", question="Who wrote Shakespeare's Hamlet?", answer="Shakespeare", subject="Shakespeare's Hamlet"
    )
    assert fallback(circular) == Target("1", DEFAULT_REFUSAL)
    assert fallback(ForgetSample(id="1", question="Who?", answer="She")) == Target("1", DEFAULT_REFUSAL)


def test_the_bundled_examples_meet_their_own_standard():
    for example in read_examples(None).examples:
        sample = ForgetSample(id="e", question=example.question, answer="none")
        assert acceptable(example.refusal, True, sample) == example.refusal


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("- just a list", "valid dictionary"),
        ("instruction: x\nexamples: []", "examples: List should have at least 1"),
        ('instruction: x\nexamples: [{question: "Who?"}]', "examples.0.refusal: Field required"),
        ('instruction: x\nexamples: [{question: "Who?", refusal: She did.}]', "not recognised as a refusal"),
        ('instruction: x\nexamples: [{question: "Who?", refusal: No., extra: 1}]', "extra: Extra inputs"),
        ("instruction: !!python/object/apply:os.system [true]", "cannot be read as examples"),
        ("{", "cannot be read as examples"),
        ("instruction: 2020-13-45", "cannot be read as examples"),  # a date that is none
        ("[" * 5000, "cannot be read as examples"),
        ("instruction: ' '\nexamples: []", "instruction: String should have at least 1"),
    ],
)
def test_an_examples_file_that_is_not_one(content, said, tmp_path):
    path = tmp_path / "examples.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=said) as caught:
        read_examples(path)
    assert str(path) in str(caught.value)
