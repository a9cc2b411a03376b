"""Generation, log-probabilities and perplexity against float64 and closed forms."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from conftest import FACTS, tiny_llama, tiny_tokenizer

from easyedit_unlearn.baselines.dataset import encode_requests
from easyedit_unlearn.errors import UnlearnError, UnlearnWarning
from easyedit_unlearn.evaluation.judging import split_thought
from easyedit_unlearn.model import forced, inference
from easyedit_unlearn.model.forced import answer_logprobs, answer_tokens
from easyedit_unlearn.model.inference import IGNORED, answer_logits, answer_nll, generate_replies, pad_pairs, perplexity
from easyedit_unlearn.model.memories import SequenceMemory, SideMemory, attach
from easyedit_unlearn.model.prompting import encode_pair, format_prompt, reply_end
from easyedit_unlearn.model.shared import beginning_of, by_token
from easyedit_unlearn.model.thinking import THOUGHT
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.types import ForgetSample, Observation

PROMPTS = ["Hello", "What is it?", "A much longer prompt than the others, so that padding matters."]


def test_uniform_logits_cost_log_of_the_vocabulary():
    logits, labels = torch.zeros(2, 4, 10), torch.tensor([[IGNORED, 1, 2, 3], [IGNORED, IGNORED, 5, IGNORED]])
    total, count = answer_nll(logits, labels)
    assert total.tolist() == pytest.approx([3 * math.log(10), math.log(10)])
    assert count.tolist() == [3, 1]


def test_position_t_predicts_token_t_plus_1():
    logits = torch.full((1, 3, 3), -1e9)
    logits[0, 0, 2] = logits[0, 1, 1] = 0.0
    assert answer_nll(logits, torch.tensor([[IGNORED, 2, 1]]))[0].item() == pytest.approx(0.0)
    with pytest.raises(ValueError, match=r"\(1, 3, 3\) do not match labels \(1, 2\)"):
        answer_nll(logits, torch.tensor([[2, 1]]))


def test_ignored_labels_have_no_gradient():
    logits = torch.randn(1, 4, 5, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[IGNORED, IGNORED, 3, IGNORED]])
    answer_nll(logits, labels)[0].sum().backward()
    expected = torch.softmax(logits[0, 1].detach(), 0) - torch.eye(5, dtype=torch.float64)[3]
    assert torch.allclose(logits.grad[0, 1], expected)
    assert logits.grad[0, [0, 2, 3]].abs().max() == 0


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_log_probabilities_match_float64_one_by_one(family, request):
    model, tokenizer = request.getfixturevalue(family)
    pairs = [(prompt, answer) for prompt, answer in zip(PROMPTS, ["Tokyo", "x", "two words"], strict=True)]
    found = answer_logprobs(model, tokenizer, pairs, batch_size=3)
    model = model.double()
    for (prompt, answer), value in zip(pairs, found, strict=True):
        prompt_ids, answer_ids = encode_pair(tokenizer, prompt, answer)
        logits = model(input_ids=torch.tensor([prompt_ids + answer_ids])).logits[0].detach().log_softmax(-1)
        terms = [logits[len(prompt_ids) + i - 1, token] for i, token in enumerate(answer_ids)]
        assert value == pytest.approx(float(sum(terms)) / len(terms), rel=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_tokens_of_an_answer_match_float64_one_by_one(family, request):
    model, tokenizer = request.getfixturevalue(family)
    pairs = [*zip(PROMPTS, ["Tokyo", "x", "two words"], strict=True), ("Hi\n", "")]
    found = answer_tokens(model, tokenizer, pairs, batch_size=4)
    assert found.pop() is None
    model = model.double()
    for (prompt, answer), tokens in zip(pairs, found, strict=False):
        before, said = encode_pair(tokenizer, prompt, answer)
        logits = model(input_ids=torch.tensor([before + said])).logits[0, len(before) - 1 : -1].detach()
        expected = torch.distributions.Categorical(logits=logits)
        assert tokens.logprobs == pytest.approx(expected.log_prob(torch.tensor(said)).tolist(), rel=1e-4)
        assert list(tokens.greedy) == (logits.argmax(-1) == torch.tensor(said)).tolist()
        assert tokens.means == pytest.approx((-expected.entropy()).tolist(), rel=1e-4)
        spread = ((expected.logits + expected.entropy()[:, None]) ** 2 * expected.probs).sum(-1).sqrt()
        assert tokens.spreads == pytest.approx(spread.tolist(), rel=1e-3)


def sentence_piece():
    """As Llama 2's and Mistral's: every text begins with a space of the tokenizer's own, spaces are "\u2581"."""
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    space = "\u2581"
    words = ["[INST]", "[/INST]", "Who", "is", "it", "?", "Ann", "No", "idea", "."]
    vocabulary = dict.fromkeys(
        ["<unk>", "<s>", "</s>", space, *words, *(space + word for word in words), *"INSTWhoist[]/d"]
    )
    pieces = Tokenizer(models.Unigram([(token, -(len(token) ** -1)) for token in vocabulary], unk_id=0))
    pieces.normalizer = normalizers.Sequence([normalizers.Prepend(space), normalizers.Replace(" ", space)])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=pieces, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
    tokenizer.chat_template = "{% for m in messages %}[INST] {{ m.content }} [/INST]{% endfor %}"
    return tokenizer


def test_an_answer_after_inst_begins_with_no_lone_space():
    tokenizer = sentence_piece()
    prompt = format_prompt(tokenizer, "Who is it ?")
    assert prompt == "[INST] Who is it ? [/INST]"
    alone = tokenizer.convert_ids_to_tokens(tokenizer(" Ann", add_special_tokens=False).input_ids)
    assert alone == ["\u2581", "\u2581Ann"]  # what a tokenizer of this kind makes of an answer by itself
    before, said = encode_pair(tokenizer, prompt, "Ann", end=True)
    assert tokenizer.convert_ids_to_tokens(said) == ["\u2581Ann", "</s>"]
    assert before + said[:-1] == tokenizer(f"{prompt} Ann").input_ids
    (ids,) = encode_requests(
        tokenizer, [{"prompt": prompt, "ground_truth": "No idea.", "answers": ["idea"]}], fact=True
    )
    assert tokenizer.convert_ids_to_tokens(ids[1]) == ["\u2581idea"]


def test_the_end_of_a_whole_answer_is_scored_by_itself(llama):
    model, tokenizer = llama
    pairs, end = [("Who?", "Tokyo"), ("", "a plain text"), ("Who?", "")], tokenizer.eos_token_id
    found = answer_tokens(model, tokenizer, pairs, end=end)
    without = answer_tokens(model, tokenizer, pairs)
    assert found[1].end is None and found[2] is None
    assert found[0].logprobs == pytest.approx(without[0].logprobs, rel=1e-5)
    assert found[0].ranks == without[0].ranks
    before, said = encode_pair(tokenizer, *pairs[0], end=True)
    with torch.no_grad():
        logits = model.double()(input_ids=torch.tensor([before + said])).logits[0, -2].log_softmax(-1)
    assert found[0].end == pytest.approx(logits[end].item(), rel=1e-5)
    model.float().config.max_position_embeddings = len(before) + len(said) - 1  # all of the answer, and not its end
    (whole,) = answer_tokens(model, tokenizer, pairs[:1], end=end)
    assert whole.end is None and not whole.cut and len(whole.logprobs) == len(said) - 1
    model.config.max_position_embeddings -= 1
    with pytest.warns(UnlearnWarning):
        (cut,) = answer_tokens(model, tokenizer, pairs[:1], end=end)
    assert cut.cut and cut.end is None and len(cut.logprobs) == len(said) - 2


def test_a_reply_ends_as_the_template_ends_a_turn():
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<end_of_turn>"]})
    turn = tokenizer.convert_tokens_to_ids("<end_of_turn>")
    assert turn != tokenizer.eos_token_id
    assert reply_end(tokenizer, "raw") == tokenizer.eos_token_id
    tokenizer.chat_template = "{% for m in messages %}{{ m.role }}\n{{ m.content }}<end_of_turn>\n{% endfor %}"
    assert reply_end(tokenizer, "chat") == turn
    for closing in ("", "\n", "{{ eos_token }}", " over"):
        tokenizer.chat_template = f"{{% for m in messages %}}{{{{ m.content }}}}{closing}{{% endfor %}}"
        assert reply_end(tokenizer, "chat") == tokenizer.eos_token_id


def test_what_puts_out_no_numbers_is_undefined_in_every_metric():
    logits = torch.full((3, 5), float("nan"))
    tokens = forced._tokens(logits, torch.tensor([1, 2, 3]))
    seen = Observation(ForgetSample("1", "Q?", "a"), "forget", "Q?", "a", float("nan"), tokens, float("nan"), (-1.0,))
    for name in (
        "mrr", "top_hit_ratio", "exact_memorization", "extraction_strength", "mia_loss", "mia_zlib", "mia_min_k",
        "mia_min_k++", "answer_prob", "truth_ratio",
    ):  # fmt: skip
        assert default_plugins().metrics.get(name).score(seen) is None, name


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_a_prompt_that_answers_share_is_run_once_and_changes_nothing(family, request, monkeypatch):
    model, tokenizer = request.getfixturevalue(family)
    pairs = [(prompt, answer) for prompt in PROMPTS for answer in ("Tokyo", "x", "", "two words", "a third one")]
    pairs.append(("Another prompt", "alone"))
    lengths = []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, given: lengths.append(given["input_ids"].shape), with_kwargs=True
    )
    found = answer_tokens(model, tokenizer, pairs)
    hook.remove()
    prompts = [len(tokenizer(prompt).input_ids) for prompt in PROMPTS]
    assert {(1, length - 1) for length in prompts} <= {tuple(shape) for shape in lengths}
    monkeypatch.setattr(forced, "SHARED", 99)
    for one, other in zip(found, answer_tokens(model, tokenizer, pairs), strict=True):
        assert (one is None) == (other is None)
        if one:
            assert one.logprobs == pytest.approx(other.logprobs, rel=1e-4, abs=1e-5)
            assert one.greedy == other.greedy
            assert one.spreads == pytest.approx(other.spreads, rel=1e-3)


def test_a_memory_that_acts_on_whole_rows_sees_them_whole(llama):
    model, tokenizer = llama
    assert by_token(model)
    weight = model.model.layers[0].mlp.down_proj.weight
    change = torch.zeros(1, *weight.shape)
    adapter = SequenceMemory(changes=change, thresholds=torch.ones(1), prefix=torch.empty(0, weight.shape[1]))
    attach(model, "model.layers.0.mlp.down_proj", adapter)
    assert not by_token(model)
    attach(model, "model.layers.0.mlp.down_proj", SideMemory(changes=change, thresholds=torch.ones(1)))
    assert by_token(model)


HEAD = "You are asked by people of all kinds. Answer in one short sentence, and never at length, whoever it is. "


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_what_all_prompts_begin_with_is_run_once(family, request, monkeypatch):
    model, tokenizer = request.getfixturevalue(family)
    prompts = [HEAD + prompt for prompt in (*PROMPTS, "Why?", "A prompt that is longer than all of the others here")]
    pairs = [(prompt, answer) for prompt in prompts for answer in ("so", "not so")]
    lengths = []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, given: lengths.append(given["input_ids"].shape[1]), with_kwargs=True
    )
    replies, tokens = (
        generate_replies(model, tokenizer, prompts, max_new_tokens=6),
        answer_tokens(model, tokenizer, pairs),
    )
    hook.remove()
    assert len(HEAD) <= max(lengths) < len(HEAD) + 60 and lengths[0] >= len(HEAD) > lengths[1]
    monkeypatch.setattr(inference, "LONG", 10**6)
    monkeypatch.setattr(forced, "LONG", 10**6)
    assert generate_replies(model, tokenizer, prompts, max_new_tokens=6) == replies
    for one, other in zip(tokens, answer_tokens(model, tokenizer, pairs), strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, rel=1e-4, abs=1e-5)


def test_prompts_that_are_one_another_s_beginning_leave_a_token_to_run():
    assert beginning_of([[1, 2, 3], [1, 2, 3, 4]]) == 2
    assert beginning_of([[1, 2], [1, 2]]) == 1
    assert beginning_of([[5]]) == beginning_of([[1, 2], [3, 4]]) == 0


def test_an_answer_without_tokens_is_undefined_not_zero(llama):
    model, tokenizer = llama
    assert answer_logprobs(model, tokenizer, [("Hi\n", ""), ("Hi\n", "a")])[0] is None


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_logits_of_the_answer_span_alone(family, request):
    model, tokenizer = request.getfixturevalue(family)
    batch = pad_pairs([encode_pair(tokenizer, prompt, "ok") for prompt in PROMPTS], 1)
    ids, labels, mask = batch
    whole = answer_nll(model(input_ids=ids, attention_mask=mask).logits, labels)
    span = answer_nll(*answer_logits(model, *batch))
    assert torch.allclose(whole[0], span[0], rtol=1e-5)
    assert torch.equal(whole[1], span[1])


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_batched_replies_are_the_single_replies(family, request):
    model, tokenizer = request.getfixturevalue(family)
    alone = [generate_replies(model, tokenizer, [p], max_new_tokens=8)[0] for p in PROMPTS]
    assert generate_replies(model, tokenizer, PROMPTS, max_new_tokens=8, batch_size=3) == alone
    assert model.training is False


def test_greedy_whatever_the_models_own_settings_say(llama):
    model, tokenizer = llama
    expected = generate_replies(model, tokenizer, PROMPTS, max_new_tokens=8)
    own = model.generation_config
    own.do_sample, own.temperature, own.num_beams, own.repetition_penalty = True, 2.0, 3, 2.0
    assert generate_replies(model, tokenizer, PROMPTS, max_new_tokens=8) == expected
    assert model.generation_config is own


def test_the_taught_model_answers(taught):
    model, tokenizer = taught
    prompts = [format_prompt(tokenizer, question) for question, _, _ in FACTS]
    assert generate_replies(model, tokenizer, prompts) == [f"{answer}." for _, answer, _ in FACTS]


def test_perplexity_of_a_uniform_model_is_its_vocabulary(llama):
    model, tokenizer = llama
    with torch.no_grad():
        model.model.norm.weight.zero_()
    assert perplexity(model, tokenizer, "any text " * 100, window=32) == pytest.approx(261, rel=1e-4)


def test_the_mask_comes_from_lengths_not_from_ids(llama):
    _, tokenizer = llama
    prompt, answer = encode_pair(tokenizer, "Hi", "yes", end=True)
    ids, labels, mask = pad_pairs([(prompt, answer), (prompt, answer[:1])], tokenizer.pad_token_id)
    assert answer[-1] == tokenizer.eos_token_id == tokenizer.pad_token_id
    assert mask[0].all()
    assert labels[0, -1] == tokenizer.eos_token_id  # the real end stays in the loss
    assert mask[1].sum() == len(prompt) + 1
    assert (labels[1, len(prompt) + 1 :] == IGNORED).all()


def test_begin_of_text_is_not_doubled(llama):
    _, tokenizer = llama
    from tokenizers.processors import TemplateProcessing

    tokenizer.add_special_tokens({"bos_token": "<unk>"})
    tokenizer.chat_template = "<unk>" + tokenizer.chat_template
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<unk> $A", special_tokens=[("<unk>", 0)])
    ids = tokenizer(format_prompt(tokenizer, "Hi")).input_ids
    assert ids[0] == 0
    assert ids.count(0) == 1


def thinking_reply(tokenizer, ids_of, monkeypatch, prompt="Q"):
    """Replies of a model that says, token by token, what ``ids_of`` gives for a call: (ids so far, longest)."""
    calls = []

    def generated(_model, _tokenizer, prompts, longest, stops=()):
        calls.append((len(prompts), longest, bool(stops)))
        return [ids_of[len(calls) - 1]] * len(prompts)

    monkeypatch.setattr(inference, "_generated", generated)
    return generate_replies(tiny_llama(), tokenizer, [prompt], max_new_tokens=5)[0], calls


def test_a_reply_that_is_cut_in_its_thought_goes_on(llama, monkeypatch):
    _, tokenizer = llama
    parts = ["<think>He asks", " for it.</think>", "I can't say."]
    ids = [tokenizer(part, add_special_tokens=False).input_ids for part in parts]
    reply, calls = thinking_reply(tokenizer, ids, monkeypatch)
    assert calls == [(1, 5, False), (1, THOUGHT, True), (1, 5, False)]
    assert split_thought(reply).thought == "He asks for it."
    assert split_thought(reply).answer == "I can't say."


def test_a_thought_that_never_ends_is_bounded(llama, monkeypatch):
    _, tokenizer = llama
    ids = [tokenizer(part, add_special_tokens=False).input_ids for part in ("<think>He asks", " and asks")]
    reply, calls = thinking_reply(tokenizer, ids, monkeypatch)
    assert len(calls) == 2
    assert not split_thought(reply).closed


def test_a_reply_without_a_thought_is_asked_for_once(llama, monkeypatch):
    _, tokenizer = llama
    reply, calls = thinking_reply(tokenizer, [tokenizer("Paris.", add_special_tokens=False).input_ids], monkeypatch)
    assert (reply, len(calls)) == ("Paris.", 1)


def test_a_template_that_opens_the_thought(llama, monkeypatch):
    _, tokenizer = llama
    ids = [tokenizer(part, add_special_tokens=False).input_ids for part in ("Paris.</think>No", ".")]
    reply, _ = thinking_reply(tokenizer, ids, monkeypatch, prompt="Q <think>\n")
    assert split_thought(reply).thought == "Paris."


def test_thinking_is_a_prompt_style_of_templates_that_have_it(llama):
    _, tokenizer = llama
    with pytest.raises(UnlearnError, match="no enable_thinking"):
        format_prompt(tokenizer, "Q", "no_think")
    own = tokenizer.chat_template
    try:
        tokenizer.chat_template = (
            own + "{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
        )
        assert format_prompt(tokenizer, "Q", "no_think") == format_prompt(tokenizer, "Q", "think") + "<think></think>"
    finally:
        tokenizer.chat_template = own


def test_the_rank_of_each_token_of_an_answer(llama):
    model, tokenizer = llama
    (found,) = answer_tokens(model, tokenizer, [("Hello", "there")])
    assert [rank == 1 for rank in found.ranks] == list(found.greedy)
    assert all(1 <= rank <= 261 for rank in found.ranks)
