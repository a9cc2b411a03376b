"""One place that turns a question into the text a model is given, and a (prompt, answer) pair into token ids."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from easyedit_unlearn.errors import DataError, UnlearnError, UnlearnWarning
from easyedit_unlearn.types import PreTrainedTokenizerBase, PromptStyle, Unfinished

TokenPair = tuple[list[int], list[int]]
"""Token ids of (prompt, answer with its end-of-text token, unless the answer is ``Unfinished``)."""


def encode(
    tokenizer: PreTrainedTokenizerBase,
    pairs: Sequence[tuple[str, str]],
    longest: int | None = None,
    room: int = 0,
    *,
    end: bool = True,
) -> list[TokenPair]:
    """Token ids of (prompt, answer), with the end-of-text token unless ``end`` is false or the answer ``Unfinished``.
    With ``longest``, the model's context in tokens, prompts lose their beginning where they do not fit together with
    the answer, or with any other of ``room`` tokens.

    Raises:
        DataError: an answer has no tokens, or alone does not fit.
    """
    found = [encode_pair(tokenizer, prompt, answer, end=end) for prompt, answer in pairs]
    for (prompt, answer), (ids, reply) in zip(pairs, found, strict=True):
        if not reply:
            raise DataError(f"the answer {answer!r} to {prompt!r} has no tokens")
        if longest is not None and len(reply) >= longest:
            raise DataError(f"the answer to {prompt!r} has {len(reply)} tokens; the model's context holds {longest}")
        over = len(ids) + max(len(reply), room) - (longest or 0)
        if longest is not None and over > 0:
            warnings.warn(f"{over} tokens cut from the left of {prompt!r}", UnlearnWarning, stacklevel=2)
            del ids[:over]
    return found


def resolve_style(tokenizer: PreTrainedTokenizerBase, style: PromptStyle) -> Literal["chat", "raw"]:
    """``auto`` is the chat template where the tokenizer has one, else the bare question.

    Raises:
        UnlearnError: ``chat`` was asked of a tokenizer without a chat template, or ``think`` or ``no_think`` of one
            whose template has no enable_thinking.
    """
    template = getattr(tokenizer, "chat_template", None)
    if style in ("chat", *_THINKING) and not template:
        raise UnlearnError(f"prompt style {style!r} needs a tokenizer with a chat template; use 'raw' for a base model")
    if style in _THINKING and "enable_thinking" not in str(template):
        raise UnlearnError(f"prompt style {style!r}: this model's chat template has no enable_thinking; use 'chat'")
    return "raw" if style == "raw" or not template else "chat"


_THINKING: Mapping[PromptStyle, bool] = {"think": True, "no_think": False}


def format_prompt(
    tokenizer: PreTrainedTokenizerBase,
    question: str,
    style: PromptStyle = "auto",
    *,
    system: str | None = None,
    shots: Sequence[tuple[str, str]] = (),
) -> str:
    """The text after which the model's reply begins; ``system`` replaces the chat template's own system prompt.

    ``shots`` are (question, reply) examples that come before: earlier turns of a chat, or, for a base model, lines of
    "Question: ... Answer: ..." (the reply then ends at the first empty line).

    Calling ``tokenizer(text)`` on it gives the right ids: when the tokenizer adds the begin-of-text token by itself,
    the template's own is left out, so that nobody (EasyEdit included) doubles it.

    Raises:
        DataError: there is no question. UnlearnError: the tokenizer cannot express the conversation in this style.
    """
    if not question:
        raise DataError("a plain text has no question to ask, edit or train on; give 'question' and 'answer'")
    if resolve_style(tokenizer, style) == "raw":
        blocks = [system] if system else []
        blocks += [f"Question: {asked}\nAnswer: {reply}" for asked, reply in shots]
        return "\n\n".join([*blocks, f"Question: {question}\nAnswer:" if blocks else question])
    messages = [{"role": "system", "content": system}] if system is not None else []
    for asked, reply in shots:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": reply}]
    messages.append({"role": "user", "content": question})
    thinking = _THINKING.get(style)
    text = chat_text(tokenizer, messages, thinking)
    if system is not None and (text is None or system not in text):
        # a template without a system role, or one that drops it: the first question says it
        first = {"role": "user", "content": f"{system}\n\n{messages[1]['content']}"}
        text = chat_text(tokenizer, [first, *messages[2:]], thinking)
    if text is None:
        raise UnlearnError("the tokenizer's chat template cannot express this conversation; use the prompt style 'raw'")
    return text


def chat_text(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]], thinking: bool | None = None, *,
    generation: bool = True,
) -> str | None:  # fmt: skip
    """The conversation, with ``generation`` up to where the next reply begins; None where the template cannot express
    it (a role that it does not have, roles that do not alternate). ``thinking``: the template's enable_thinking."""
    from jinja2 import TemplateError

    more: dict[str, Any] = {} if thinking is None else {"enable_thinking": thinking}
    try:
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, add_generation_prompt=generation,
            **more,
        )  # fmt: skip
    except TemplateError:
        return None
    if not isinstance(text, str):
        raise UnlearnError("the tokenizer's chat template did not give text")
    bos = tokenizer.bos_token
    added = tokenizer("").input_ids
    if isinstance(bos, str) and added[:1] == [tokenizer.bos_token_id]:
        text = text.removeprefix(bos)
    return text


def reply_end(tokenizer: PreTrainedTokenizerBase, style: PromptStyle = "auto") -> int | None:
    """The token that ends a reply: the one by which the chat template closes a turn, where it is a special one (it need
    not be the end of text: Gemma's ``<end_of_turn>``, Phi's ``<|end|>``), else the end-of-text token."""
    mark = "\x00"
    if resolve_style(tokenizer, style) == "chat":
        turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": mark}]
        after = (chat_text(tokenizer, turns, generation=False) or "").partition(mark)[2].lstrip()
        ids = list(tokenizer(after, add_special_tokens=False).input_ids) if after else []
        if ids and ids[0] in (*tokenizer.all_special_ids, *getattr(tokenizer, "added_tokens_decoder", {})):
            return int(ids[0])
    return None if tokenizer.eos_token_id is None else int(tokenizer.eos_token_id)


def beginning(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The ids that the tokenizer puts before every text, such as begin-of-text."""
    with_all, bare = list(tokenizer("a").input_ids), list(tokenizer("a", add_special_tokens=False).input_ids)
    for start in range(len(with_all) - len(bare) + 1):
        if with_all[start : start + len(bare)] == bare:
            return with_all[:start]
    return []


def cut_to(longest: int | None, pair: TokenPair) -> TokenPair:
    """The pair with no more of the answer than a context of ``longest`` tokens holds, and a warning."""
    prompt, answer = pair
    over = len(prompt) + len(answer) - (longest or 0)
    if longest is None or over <= 0:
        return pair
    warnings.warn(
        f"a text of {len(prompt) + len(answer)} tokens is read to the model's context of {longest}; cut long texts "
        "into several", UnlearnWarning, stacklevel=2,
    )  # fmt: skip
    return prompt, answer[: max(len(answer) - over, 0)]


def begun(prompt: str, reply: str) -> str:
    """The prompt with the first words of a reply that the model is to go on with."""
    return f"{prompt}{'' if not prompt or prompt[-1:].isspace() else ' '}{reply}"


def encode_pair(
    tokenizer: PreTrainedTokenizerBase, prompt: str, answer: str, *, end: bool = False
) -> tuple[list[int], list[int]]:
    """Token ids of the prompt and of the answer that follows it; ``end`` adds the end-of-text token to the answer,
    unless that is ``Unfinished``.

    The answer is joined by a space, as EasyEdit joins it, unless the prompt already ends in white space (as chat
    templates do) or there is none. Both are read as one text: a tokenizer that begins every text with a space of its
    own (Llama 2, Mistral) would put a lone one before an answer that it reads by itself, which no model says there.
    """
    joined = answer if not answer or not prompt or prompt[-1:].isspace() else f" {answer}"
    prompt_ids, whole = list(tokenizer(prompt).input_ids), list(tokenizer(prompt + joined).input_ids)
    if prompt and whole[: len(prompt_ids)] == prompt_ids:
        answer_ids = whole[len(prompt_ids) :]
    else:  # the prompt's last token would join the answer's first
        answer_ids = list(tokenizer(joined, add_special_tokens=False).input_ids)
    if end and tokenizer.eos_token_id is not None and not isinstance(answer, Unfinished):
        answer_ids.append(tokenizer.eos_token_id)
    return prompt_ids, answer_ids


def tokens_within(tokenizer: PreTrainedTokenizerBase, text: str, start: int, stop: int) -> list[int]:
    """The indices of the tokens of ``text`` that cover any of its characters from ``start`` to before ``stop``: by
    character offsets, so merges cannot shift them."""
    spans: Sequence[tuple[int, int]] = tokenizer(text, return_offsets_mapping=True).offset_mapping
    return [i for i, (low, high) in enumerate(spans) if low < stop and high > start]
