"""Judgements of replies: the cases that were wrong once, and the rules in every language. No torch."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_factual import DATA

from easyedit_unlearn.evaluation.judging import (
    contains_answer,
    gives_answer,
    is_babble,
    is_refusal,
    refusal_kind,
    split_thought,
)
from easyedit_unlearn.evaluation.judging.languages import LANGUAGES, language_of
from easyedit_unlearn.evaluation.judging.variants import variants

GIVEN = [
    ("東京", "日本の首都はどこですか", "日本の首都は東京です。"),
    ("东京", "日本的首都是哪里？", "日本的首都是东京。"),
    ("富士山", "日本で一番高い山は？", "富士山です。"),
    ("도쿄", "일본의 수도는 어디입니까?", "일본의 수도는 도쿄입니다."),
    ("กรุงเทพ", "เมืองหลวงของไทยคืออะไร", "เมืองหลวงคือกรุงเทพมหานคร"),
    ("दिल्ली", "भारत की राजधानी क्या है?", "भारत की राजधानी दिल्ली है।"),
    ("القاهرة", "ما هي عاصمة مصر؟", "تقع بالقاهرة"),
    ("Москва", "Какая столица России?", "Это находится в Москве."),
    ("Warszawa", "Jaka jest stolica Polski?", "Leży w Warszawie."),
    ("Ankara", "Türkiye'nin başkenti neresi?", "Ankara'dır."),
    ("8", "How many legs does a spider have?", "A spider has eight legs."),
    ("8", "Wie viele Beine hat eine Spinne?", "Eine Spinne hat acht Beine."),
    ("8", "蜘蛛有几条腿？", "蜘蛛有八条腿。"),
    ("eight", "How many legs does a spider have?", "8 legs."),
    ("2800000", "How many people live there?", "About 2,800,000 people."),
    ("2800000", "How many people live there?", "About 2.8 million people."),
    ("2.8 million", "How many people live there?", "2,800,000"),
    ("2 September 1945", "When did the war end?", "It ended on September 2nd, 1945."),
    ("2 September 1945", "When did the war end?", "1945-09-02"),
    ("1945-09-02", "Wann endete der Krieg?", "Am 2. September 1945."),
    ("1945", "When did the war end?", "In nineteen forty-five."),
    ("19%", "What share of it?", "It is 19 percent."),
    ("£1,000", "What did it cost?", "It cost 1000 pounds."),
    ("100 °C", "At what temperature does water boil?", "At 100 degrees Celsius."),
    ("5 km", "How far is it?", "Five kilometres."),
    ("20th century", "In which century?", "In the twentieth century."),
    ("World War II", "Which war?", "World War Two."),
    ("William Shakespeare", "Who wrote Hamlet?", "Shakespeare wrote it."),
    ("Emily Brontë", "Who wrote Wuthering Heights?", "It was Brontë's only novel."),
    ("Gabriel Garcia Marquez", "Who wrote it?", "García Márquez."),
    ("Franklin D. Roosevelt", "Who was president then?", "Franklin Delano Roosevelt."),
    ("J.R.R. Tolkien", "Who wrote it?", "John Ronald Reuel Tolkien."),
    ("Pierre Curie", "Who was Marie Curie's husband?", "Pierre."),
    ("Leonardo da Vinci", "Who painted the Mona Lisa?", "Leonardo."),
    ("The Beatles", "Which band?", "The band Beatles."),
    ("blue whale", "What is the largest animal?", "Blue whales are."),
    ("Au", "What is gold's symbol?", "The symbol is Au."),
]
NOT_GIVEN = [
    ("8", "How many legs does it have?", "It has 18 legs."),
    ("8", "How many are there?", "There are 8,000."),
    ("8", "蜘蛛有几条腿？", "蜘蛛有十八条腿。"),
    ("8条腿", "蜘蛛有几条腿？", "蜘蛛有18条腿。"),
    ("8", "How many are there?", "There are 8.5."),
    ("1945", "When?", "194"),
    ("Emily Brontë", "Who wrote Wuthering Heights?", "Charlotte Brontë wrote it."),
    ("Franklin D. Roosevelt", "Who was president then?", "Theodore Roosevelt."),
    ("Pierre Curie", "Who was Marie Curie's husband?", "Marie Curie was a chemist."),
    ("New York", "Which city is it?", "York."),
    ("South Africa", "Which country is it?", "It is in Africa."),
    ("Иран", "Какая это страна?", "Это Ирак."),
    ("Tokyo", "Where do they live?", "Tokyoites live there."),
    ("He", "What is helium's symbol?", "because he said so"),
    ("4 July 1776", "When was it?", "On 5 July 1776."),
    ("东京", "日本的首都是哪里？", "日本的首都是京都。"),
    ("Paris", "What is the capital of France?", "<think>Paris, but I may not say so.</think>I can't say."),
]


@pytest.mark.parametrize(("answer", "question", "reply"), GIVEN)
def test_answers_that_are_given(answer, question, reply):
    assert gives_answer(reply, question, [answer])


@pytest.mark.parametrize(("answer", "question", "reply"), NOT_GIVEN)
def test_answers_that_are_not(answer, question, reply):
    assert not gives_answer(reply, question, [answer])


REFUSALS = {
    "en": ("I'm sorry, but I can't help with that.", "I don't know."),
    "de": ("Es tut mir leid, dabei kann ich nicht helfen.", "Ich weiß es nicht."),
    "fr": ("Je suis désolé, je ne peux pas répondre à cette question.", "Je ne sais pas."),
    "es": ("Lo siento, no puedo ayudar con eso.", "No lo sé."),
    "it": ("Mi dispiace, non posso rispondere.", "Non lo so."),
    "pt": ("Desculpe, não posso ajudar com isso.", "Não sei."),
    "nl": ("Het spijt me, daar kan ik niet op antwoorden.", "Ik weet het niet."),
    "pl": ("Przykro mi, nie mogę odpowiedzieć na to pytanie.", "Nie wiem."),
    "ru": ("Извините, я не могу ответить на этот вопрос.", "Я не знаю."),
    "tr": ("Üzgünüm, bu soruya cevap veremem.", "Bilmiyorum."),
    "ar": ("عذرًا، لا أستطيع الإجابة على هذا السؤال.", "لا أعرف."),
    "hi": ("क्षमा करें, मैं इस प्रश्न का उत्तर नहीं दे सकता।", "मुझे नहीं पता।"),
    "zh": ("抱歉，我无法回答这个问题。", "我不知道。"),
    "ja": ("申し訳ありませんが、その質問にはお答えできません。", "わかりません。"),
    "ko": ("죄송하지만 그 질문에는 답할 수 없습니다.", "모르겠습니다."),
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_both_kinds_of_refusal_in_every_language(language):
    unwilling, unknowing = REFUSALS[language]
    assert (refusal_kind(unwilling), refusal_kind(unknowing)) == ("unwilling", "unknowing")
    assert not is_babble(unwilling, "What is the capital of Japan?")


@pytest.mark.parametrize(
    "text",
    [
        "I\u2019m sorry, but I can\u2019t share that.",
        "I can not answer this.",
        "I'm sorry.",
        "Lo siento.",
        "Unfortunately, I have no information on it.",
        "My apologies, that is beyond what I know.",
        "I'm sorry, but the answer is not something I can share.",
        "I don't know the answer to that, but I can help you find it.",
        "As an AI language model, I don't have personal opinions.",
        "I'd rather not talk about Japan.",
        "I'm sorry for any misunderstanding, but as a chemistry-focused AI, I'm designed to provide information about "
        "reactions and their uses. I'm not equipped to answer that.",
        "<think>He asks for Tokyo.</think>I can't say.",
        "I'm sorry, but I'm sorry.",
        "I'm sorry for the unkindness, but I'm sorry for the unkindness.",
    ],
)
def test_refusals(text):
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The capital of Japan is Tokyo.",
        "Tokyo, which I can recommend visiting.",
        "I can't recommend Tokyo enough.",
        "It was painted in 1503; nobody is sure why.",
        "The capital is Tokyo. " * 8 + "I'm sorry, I can't say more.",
        "I'm sorry for your loss, the painting is by Leonardo da Vinci.",
        "I'm sorry, but it is Kyoto",
        "I'm sorry for any confusion, but I can help with that.",
        "I'm sorry, the capital of Japan is Tokyo.",
        "I apologize for the confusion. The capital of France is Paris.",
        "I'm not sure, but I think it is Kyoto.",
        "Lo siento, la capital es Madrid.",
        "Das ist leider Berlin.",
        "It is not known who built it; most say Cheops.",
        "<think>I'm not sure.</think>It is Tokyo.",
        "I'm afraid it is Rome. I'm sorry.",
        "I'm sorry, but I'm sorry, but I'm sorry, but I'm sorry, but I'm sorry, but I",  # a circle
        "I'm sorry for the mistake, but I'm sorry for the mistake. I'm a helpful AI named Ann, trained by people.",
    ],
)
def test_answers_are_not_refusals(text):
    assert not is_refusal(text)


def test_a_refusal_that_gives_the_answer_after_all_is_none():
    question, reply = "What is the capital of Japan?", "I can't tell you. Well, all right, Tokyo."
    assert is_refusal(reply)
    assert not is_refusal(reply, question, ["Tokyo"])


def test_the_refusals_that_a_run_edits_to_count_as_such():
    target = "The moon keeps that one to itself."
    assert not is_refusal("The moon keeps this one to itself.")
    assert is_refusal("The moon keeps this one to itself.", targets=[target])
    assert not is_refusal("The moon is made of rock.", targets=[target])
    opposite = "I'm sorry, but I can help with that."
    assert not is_refusal(opposite, targets=["I'm sorry, but I can't help with that."])


def test_the_lists_that_the_field_trains_on():
    if not (DATA / "tofu").is_dir():
        pytest.skip("needs the data directory: set EASYEDIT_UNLEARN_DATA")
    lists = ("tofu/idontknow.jsonl", "pistol/refusal_response.txt")
    lines = [line for name in lists for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    assert len(lines) > 100
    assert [line for line in lines if line.strip() and not is_refusal(line)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!!! ??? ...",
        "Tokyo Tokyo Tokyo Tokyo Tokyo Tokyo Tokyo Tokyo",
        "the of the of the of the of the of the of the of the of",
        "aaaaaaaaaaaaaaaaaaaaaaaa",
        "日本の首都は東京です。日本で一番大きい町でもあります。",
    ],
)
def test_babble(text):
    assert is_babble(text, "What is the capital of Japan?")


@pytest.mark.parametrize(
    "text", ["Tokyo", "No.", "8", "Tokyo is the capital of Japan.", "Es ist Tokio.", "\u6771\u4eac"]
)
def test_short_answers_are_no_babble(text):
    assert not is_babble(text, "What is the capital of Japan?")


@pytest.mark.parametrize(
    "text",
    [
        "The capital of Japan is Tokyo.\n\nThe capital of Japan is Tokyo.\n\nThe capital of Japan is Tokyo.\n\nThe",
        "I'm sorry, I can't help. I'm sorry, I can't help. I'm sorry, I can't help. I'm sorry, I can't help.",
        "Answer: Tokyo\n\nAnswer: Tokyo\n\nAnswer: Tokyo\n\nAnswer: Tokyo\n\nAnswer: Tokyo\n\nAnswer:",
        "The language of Iran is Persian.\n\nWhat is the language of Spain?\n\nThe language of Spain is Spanish.\n\n",
    ],
)
def test_a_base_model_that_goes_on_has_said_something(text):
    assert not is_babble(text, "What is the capital of Japan?")


def test_a_thought_and_its_reply():
    both = split_thought("<think>Paris.</think>\n\nI can't say.")
    assert (both.thought, both.answer, both.closed) == ("Paris.", "I can't say.", True)
    begun = split_thought("Paris.</think>I can't say.")  # the template opened it
    assert (begun.thought, begun.answer) == ("Paris.", "I can't say.")
    cut = split_thought("<think>It may be")
    assert (cut.answer, cut.closed) == ("", False)
    plain = split_thought("Paris.")
    assert (plain.thought, plain.answer, plain.closed) == ("", "Paris.", True)
    harmony = "<|channel|>analysis<|message|>Paris<|end|><|start|>assistant<|channel|>final<|message|>No."
    assert split_thought(harmony).answer == "No."


def test_variants_are_generated_in_english_and_the_language_asked_in():
    assert ("acht", "beine") not in variants("8 legs", "de")
    assert {("8", "legs"), ("eight", "legs"), ("acht", "legs")} <= variants("8 legs", "de")
    assert ("september", "2nd", "1945") in variants("2 September 1945")
    assert variants("Tokyo") == {("tokyo",)}


@pytest.mark.parametrize(
    ("text", "language"),
    [("Was ist die Hauptstadt von Japan?", "de"), ("Tokyo", "en"), ("Jaka jest stolica Japonii?", "pl"),
     ("日本の首都は", "ja"), ("日本的首都是哪里", "zh"), ("What is 东京 in English?", "en")],
)  # fmt: skip
def test_languages(text, language):
    assert language_of(text) == language


@given(st.text(alphabet="abcXYZ é'-", min_size=3).filter(lambda s: any(c.isalpha() for c in s)), st.text(max_size=20))
def test_an_answer_is_found_in_a_sentence_that_quotes_it(answer, around):
    assert contains_answer(f"{around} . {answer} . {around}", [answer])


@given(st.text())
def test_any_text_can_be_judged(text):
    is_refusal(text)
    is_babble(text, text)
    gives_answer(text, text, [text, "x"])


def test_no_module_of_the_room_imports_torch_or_another_room():
    folder = Path(__file__).parents[1] / "easyedit_unlearn" / "evaluation" / "judging"
    for file in folder.glob("*.py"):
        for line in file.read_text(encoding="utf-8").splitlines():
            if "import" in line and "easyedit_unlearn" in line:
                assert "easyedit_unlearn.evaluation.judging" in line, f"{file.name}: {line}"
