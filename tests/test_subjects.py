"""What a question is about: candidate spans, what hiding one costs, and the one that is chosen."""

import json

import pytest
from conftest import FACTS, write_hparams

from easyedit_unlearn import ForgetSample, UnlearnHyperParams
from easyedit_unlearn.errors import DataError
from easyedit_unlearn.tasks.jsonl import Jsonl
from easyedit_unlearn.tasks.subjects import candidate_spans


@pytest.mark.parametrize(
    ("question", "spans"),
    [
        ("How many legs does a spider have?", ["spider"]),
        ("Who wrote 'Hamlet' in London?", ["Hamlet"]),
        ("Which European city did Goya leave for Bordeaux?", ["Goya", "Bordeaux"]),
        ("What is the largest ocean on Earth?", ["Earth", "largest", "ocean", "largest ocean"]),
        ("What is the chemical symbol for gold?",
         ["chemical", "symbol", "gold", "chemical symbol", "symbol for gold"]),
        ("Какой город является столицей Франции?", ["Какой", "Франции"]),
        ("Who is it?", []),
        ("How many continents are there?", ["continents"]),
        # whose something is, and what is asked for in several words, is no place
        ("What were Ted Hughes' main occupations?", ["Ted Hughes"]),
        ("What is a common theme in Michael Crichton's novels?", ["Michael Crichton"]),
        ("Which Michael Crichton novel involves a pandemic?", ["Michael Crichton"]),
        ("What is the name of Ann Lee's brother with whom she sang?", ["Ann Lee"]),
        ("How did Nikolai Abilov's LGBTQ+ identity shape him?", ["Nikolai Abilov", "LGBTQ"]),
        ("Within how many days must Ann Lee pay?", ["Ann Lee"]),
        ("At what age did Queen Victoria die?", ["Queen Victoria"]),
        # a name of several words beside a title; what is quoted without a capital is no title
        ("What award did Ben Affleck win for 'Good Will Hunting'?", ["Good Will Hunting", "Ben Affleck"]),
        ('Regarding "Le Petit Sultan," how does Basil Mahfouz write?', ["Le Petit Sultan", "Basil Mahfouz"]),
        ('How is "Thieves\' Paradise" read?', ["Thieves' Paradise"]),
        ('Why was Queen Victoria known as a "grandmother"?', ["Queen Victoria"]),
    ],
)  # fmt: skip
def test_what_a_question_may_be_about(question, spans):
    assert candidate_spans(question) == spans


def test_a_script_without_spaces_is_cut_anywhere():
    spans = candidate_spans("日本的首都是哪里？")
    assert {"日本", "首都"} < set(spans) and "日" not in spans and "？" not in "".join(spans)
    assert len(candidate_spans("一" + "".join(chr(0x4E01 + n) for n in range(300)))) <= 96


def test_auto_in_a_file_is_no_subject(tmp_path):
    (tmp_path / "f.jsonl").write_text(
        "\n".join(
            json.dumps({"question": q, "answer": "x", "subject": "auto"})
            for q in ("Who is Ann?", "Who made the automobile?")
        )
    )
    samples = Jsonl().samples(Jsonl.Options(path=tmp_path / "f.jsonl"))
    assert [sample.subject for sample in samples] == [None, None]


@pytest.mark.model
@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_what_hiding_a_span_costs(kind, request):
    import torch

    from easyedit_unlearn.model.prompting import encode_pair
    from easyedit_unlearn.model.tracing import span_costs

    model, tokenizer = request.getfixturevalue(kind)
    prompt, answers, spans = "Where is Velmora?", ["Ost", "in the west"], [(9, 16), (0, 5)]
    costs = span_costs(model, tokenizer, prompt, answers, spans, batch_size=4)
    assert costs.shape == (2, 2) and costs.isfinite().all()

    def nll(answer, hidden):
        ids, reply = encode_pair(tokenizer, prompt, answer)
        whole = torch.tensor([[1, *ids, *reply]])  # the first token is hidden in one of the spans
        mask = torch.ones_like(whole)
        for n in hidden:
            mask[0, n + 1] = 0
        with torch.no_grad():
            logprobs = model(input_ids=whole, attention_mask=mask).logits[0].double().log_softmax(-1)
        places = range(len(ids), len(ids) + len(reply))
        return -sum(logprobs[place, whole[0, place + 1]] for place in places) / len(reply)

    for row, (start, stop) in zip(costs, spans, strict=True):
        offsets = tokenizer(prompt, return_offsets_mapping=True).offset_mapping
        hidden = [n for n, (low, high) in enumerate(offsets) if low < stop and high > start]
        for cost, answer in zip(row, answers, strict=True):
            assert float(cost) == pytest.approx(float(nll(answer, hidden) - nll(answer, [])), abs=1e-4)


@pytest.mark.model
def test_the_subject_is_what_the_answer_hangs_on(taught, monkeypatch):
    """A model that was taught the facts needs their subjects, and tells them from the other words of most questions."""
    from easyedit_unlearn.experiment import subjects

    words = [(q, a, s) for q, a, s in FACTS]
    others = [a for _, a, _ in words]
    monkeypatch.setattr(subjects, "candidate_spans", lambda question: [w.strip("?") for w in question.split()])
    found = [
        subjects.subject_by_cause(*taught, ForgetSample(str(n), q, a), others) for n, (q, a, _) in enumerate(words)
    ]
    right = sum(chosen in subject for chosen, (_, _, subject) in zip(found, words, strict=True))
    assert right >= 4, list(zip(found, [s for _, _, s in words], strict=True))


@pytest.fixture
def without_subjects(tmp_path):
    path = tmp_path / "bare.jsonl"
    path.write_text("\n".join(json.dumps({"question": q, "answer": a}) for q, a, _ in FACTS))
    return str(path)


@pytest.mark.model
@pytest.mark.filterwarnings("default")
def test_a_run_finds_the_subjects_that_nobody_gave(taught, tmp_path, without_subjects):
    from easyedit_unlearn.experiment.config import EvalConfig
    from easyedit_unlearn.experiment.run import Run

    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", "ROME"))
    run = Run(taught, EvalConfig(f"{without_subjects}:first3"))
    run.select()
    with run.unlearned(hparams):
        pass
    found = run.results.rows[0]["subjects"]
    assert list(found) == [question for question, *_ in FACTS[:3]]
    assert all(subject in candidate_spans(question) for question, subject in found.items())
    assert all(sample.subject is None for sample in run.selection.forget)


@pytest.mark.model
@pytest.mark.parametrize(
    ("method", "unlearn", "subject", "said"),
    [
        ("ROME", "{}", None, "no part of 'Who is it\\?' can be its subject"),
        ("NPO", "{target: {builder: template}}", None, "no part of 'Who is it\\?' can be its subject"),
        ("NPO", "{merge: {merger: by_subject}}", None, "no part of 'Who is it\\?' can be its subject"),
        ("ROME", "{}", "i", "must stand exactly once"),
        ("NPO", "{}", None, None),
    ],
)
def test_subjects_are_checked_before_any_work(taught, tmp_path, method, unlearn, subject, said):
    from easyedit_unlearn.experiment.config import EvalConfig
    from easyedit_unlearn.experiment.run import Run
    from easyedit_unlearn.tasks.given import GivenSamples

    hparams = UnlearnHyperParams.from_hparams(write_hparams(tmp_path / "h.yaml", method, unlearn))
    source = GivenSamples.source([ForgetSample("1", "Who is it?", "Ann", subject=subject)])
    run = Run(taught, EvalConfig(source))
    run.select(must_know=False)
    if said is None:
        run.check(hparams)
        return
    with pytest.raises(DataError, match=said):
        run.check(hparams)
    assert run.results.before is None


def test_what_was_found_stands_below_the_table():
    from easyedit_unlearn.report.table import note_lines

    row = {"label": "ROME", "n_known": 2, "n_forget": 2, "subjects": {"How many legs does a spider have?": "spider"}}
    (line,) = note_lines([row, {**row, "label": "MEMIT"}])
    assert line.startswith("ROME, MEMIT: subjects found") and "'spider' in 'How many legs does a spider have?'" in line
