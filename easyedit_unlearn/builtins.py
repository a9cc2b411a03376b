"""The built-in components by name, registered through the same hooks as everybody else's.

Each line says what it is and where it lives; nothing is imported before it is used. A new one: a module in its room,
and a line here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

from easyedit_unlearn.components import Lazy
from easyedit_unlearn.plugins.hookspecs import hookimpl

Table = Mapping[str, tuple[str, str]]
"""By name: one line of what it is, and ``module:Class`` in its room, or ``module:Class(argument)``."""

TASKS: Table = {
    "facts": ("126 common-knowledge questions, bundled; the task to tune on.", "facts:Facts"),
    "factual": ("169 facts known from pretraining (arXiv 2502.07218), from the data directory.", "factual:Factual"),
    "tofu": (
        "200 fictitious authors, data directory; subset=forget10|retain90|real_authors|world_facts|...",
        "tofu:Tofu",
    ),
    "pistol": ("20 fictitious contracts (arXiv 2406.16810), data directory; edge, without.", "pistol:Pistol"),
    "people": ("Real people and their neighbours, data directory; subset=forget|neighbor.", "people:People"),
    "pii": ("Private data of synthetic persons, data directory.", "pii:Pii"),
    "muse": ("Knowledge of news and books (arXiv 2407.06460), data directory; corpus, subset.", "muse:Muse"),
    "knowundo": (
        "Knowledge of authors (arXiv 2407.01920), data directory; subset=unlearn|retention.",
        "knowundo:KnowUnDo",
    ),
    "zsre": ("1,037 zsRE questions with locality and portability (arXiv 1706.04115), data directory.", "zsre:ZsRE"),
    "jsonl": ("Your own file: one JSON object a line with question and answer.", "jsonl:Jsonl"),
}

TARGET_BUILDERS: Table = {
    "fixed": ("One sentence for all, by default \"I'm sorry, but I can't help with that.\"", "fixed:Fixed"),
    "template": ("\"I'm sorry, but I can't share information about {subject}.\", or your own.", "template:Template"),
    "self_improve": ("The model's own refusals; a template where none is good.", "self_improve:SelfImprove"),
    "idk": ("Drawn at random, with the seed, from a bundled list of ways to say 'I don't know'.", "list:IDK"),
    "list": ("Drawn at random, with the seed, from a text file of one refusal a line.", "list:DrawnFromList"),
    "empty": ("The end of the text at once: the literal empty set. No reply counts as no refusal.", "template:Empty"),
    "alternative": ("The data set's counterfactual answer, as knowledge editing has it (zsre).", "fixed:Alternative"),
}

QUERY_MERGERS: Table = {
    "none": ("One edit request a sample.", "mergers:NoMerging"),
    "concat": ("Up to `size` questions become one prompt with one refusal (arXiv 2505.19855).", "mergers:Concat"),
    "by_subject": ("All questions about one subject become one prompt with one refusal.", "mergers:BySubject"),
    "shared_value": ("Up to `size` questions share one change of value; our own editors.", "mergers:SharedValue"),
    "auto": ("Questions whose keys are all but one share a value, where the editor can.", "mergers:Auto"),
}

EDITORS: Table = {
    "ROME": ("Rank-one model editing (arXiv 2202.05262).", "rome:ROME"),
    "MEMIT": ("Mass editing over layers (arXiv 2210.07229).", "memit:MEMIT"),
    "AlphaEdit": ("Null-space constrained editing (arXiv 2410.02355).", "alphaedit:AlphaEdit"),
    "GRACE": ("A codebook of edits at one layer (arXiv 2211.11031).", "grace:GRACE"),
    "WISE": ("A side memory with routing (arXiv 2405.14768).", "wise:WISE"),
    "LUNAR": ("One layer's output moved towards refusals, by regression (arXiv 2502.07218).", "lunar:LUNAR"),
}

BASELINES: Table = {
    "GA": ("Gradient ascent on the forget set (arXiv 2401.06121).", "ascent:GA"),
    "GradDiff": ("Gradient ascent on the forget set, descent on the retain set (arXiv 2401.06121).", "ascent:GradDiff"),
    "KL": ("Gradient ascent; on the retain set near the frozen model (arXiv 2401.06121).", "ascent:KL"),
    "PO": ("Fine-tuning on refusals and the retain set (arXiv 2401.06121); elsewhere IDK.", "refusals:PO"),
    "IDK+AP": ("Fine-tuning on refusals; retained answers before refusals (arXiv 2410.08109).", "refusals:IDKAP"),
    "DPO": ("The refusal preferred to the answer, with the retain set (arXiv 2305.18290).", "refusals:DPO"),
    "NPO": ("Negative preference optimisation against the frozen model (arXiv 2404.05868).", "npo:NPO"),
    "SimNPO": ("NPO without a reference, normalised by length (arXiv 2410.07163).", "npo:SimNPO"),
    "WGA": ("Gradient ascent weighted by the token's probability (arXiv 2502.19301).", "tokens:WGA"),
    "SatImp": ("Gradient ascent weighted by saturation and importance (arXiv 2505.11953).", "tokens:SatImp"),
    "CEU": ("Towards the model's own distribution without the true token (arXiv 2503.01224).", "tokens:CEU"),
    "UNDIAL": ("Self-distillation, the true token's logit lowered (arXiv 2402.10052).", "tokens:UNDIAL"),
    "PDU": ("Flat logits under a bound on the retain loss, primal-dual (arXiv 2506.05314).", "pdu:PDU"),
    "RMU": ("One layer's states moved to a random direction (arXiv 2403.03218).", "rmu:RMU"),
    "TaskVector": ("Minus what fine-tuning adds to the weights (arXiv 2212.04089).", "task_vector:TaskVector"),
    "ICR": ("A system prompt of what must not be answered; no weight changes (arXiv 2403.03329).", "icr:ICR"),
}

METRICS: Table = {
    "answer_rate": ("The reply gives the answer or an alias.", "metrics:AnswerRate"),
    "answer_prob": ("Length-normalised probability of the answer.", "metrics:AnswerProbability"),
    "refusal_rate": ("The reply is a refusal.", "metrics:RefusalRate"),
    "babble_rate": ("The reply says nothing: in circles, no language, another one.", "metrics:BabbleRate"),
    "forgotten_rate": ("The reply says something, and not the answer.", "metrics:Judged(forgotten_rate)"),
    "unwilling_rate": ("The reply will not say.", "metrics:Judged(unwilling_rate)"),
    "unknowing_rate": ("The reply does not know.", "metrics:Judged(unknowing_rate)"),
    "thought_leak_rate": (
        "What the model thinks before it replies gives the answer.",
        "metrics:Judged(thought_leak_rate)",
    ),
    "rougeL": ("ROUGE-L recall of the answer in the reply (TOFU).", "metrics:Formula(rougeL)"),
    "rouge1": ("ROUGE-1 recall of the answer in the reply (TOFU).", "metrics:Formula(rouge1)"),
    "knowmem": ("ROUGE-L F1 of the reply and the answer (MUSE).", "metrics:Formula(knowmem)"),
    "verbmem": ("ROUGE-L F1 of the answer's second half, after its first (MUSE).", "metrics:Formula(verbmem)"),
    "prob_normalised": (
        "The answer's probability over its and the wrong ones' (TOFU).",
        "metrics:Formula(prob_normalised)",
    ),
    "truth_ratio": ("Probability of wrong answers over the right one's (TOFU).", "metrics:Formula(truth_ratio)"),
    "mrr": ("Mean reciprocal rank of the answer's tokens (PISTOL).", "metrics:Formula(mrr)"),
    "top_hit_ratio": (
        "Share of the answer's tokens among the 100 likeliest (PISTOL).",
        "metrics:Formula(top_hit_ratio)",
    ),
    "extraction_strength": (
        "Share of the answer that greedy decoding completes.",
        "metrics:Formula(extraction_strength)",
    ),
    "exact_memorization": (
        "Share of the answer's tokens that are the likeliest.",
        "metrics:Formula(exact_memorization)",
    ),
    "mia_loss": ("Membership by loss.", "metrics:Formula(mia_loss)"),
    "mia_zlib": ("Membership by loss over compressed length.", "metrics:Formula(mia_zlib)"),
    "mia_min_k": ("Membership by the least likely tokens (Min-K%).", "metrics:Formula(mia_min_k)"),
    "mia_min_k++": ("The same against what could stand there (Min-K%++).", "metrics:Formula(mia_min_k++)"),
    "mia_gradnorm": (
        "Membership by the loss's gradient (its norm, negated); asked for by gradnorm.",
        "metrics:Formula(mia_gradnorm)",
    ),
    "ngram_entropy": ("Fluency of the reply, in bits.", "metrics:Formula(ngram_entropy)"),
    "composite": ("1 - ROUGE-1 on forget + ROUGE-1 on retain (arXiv 2505.19855).", "overall:Composite"),
    "forget_truth_ratio": ("Mean of min(R, 1/R) on the forget set (TOFU).", "overall:ForgetTruthRatio"),
    "forget_quality": (
        "p of the KS test against a model that never saw the forget set (TOFU).",
        "overall:ForgetQuality",
    ),
    "model_utility": ("Harmonic mean over retain, real_authors, world_facts (TOFU).", "overall:ModelUtility"),
    **{
        f"{score}_auc": (f"AUC of {score}: forget against holdout; 0.5 is a guess.", f"overall:Membership({score})")
        for score in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k++", "mia_gradnorm")
    },
    "mia_reference_auc": ("AUC of mia_loss less a reference model's.", "overall:ReferenceMembership"),
    "privleak": ("mia_min_k's AUC against a reference's, in percent (MUSE); negative: known.", "overall:PrivacyLeak"),
}

EASYEDIT: Mapping[str, str] = {
    **{name: EDITORS[name][0] for name in ("ROME", "MEMIT", "AlphaEdit", "GRACE", "WISE")},
    "DPO": "A LoRA adapter trained to prefer the refusal to the answer (arXiv 2305.18290).",
    "R-ROME": "ROME with the key fixed for sequences (arXiv 2403.07175).",
    "MEMIT-FE": "MEMIT with EasyEdit's finer estimate of values.",
    "PMET": "MEMIT over attention and MLP, values of both optimised (arXiv 2308.08742).",
    "EMMET": "ROME's exact solution for a batch (arXiv 2403.14236).",
    "EAMET": "Mass editing with embeddings aligned (arXiv 2505.11876).",
    "SPHERE": "AlphaEdit with updates kept off the main directions of the weights (arXiv 2510.01172).",
    "CORE": "MEMIT with contexts that the model writes and values held together (arXiv 2505.23026).",
    "ULTRAEDIT": "One linear update a batch from hidden states and gradients, without training (arXiv 2505.14679).",
    "SimIE": "A base editor's updates solved anew over a whole sequence.",
    "FT": "Fine-tuning of one layer on the new target.",
    "LoRA": "A LoRA adapter trained on the new target (arXiv 2106.09685).",
    "QLoRA": "The same on a quantised model (arXiv 2305.14314).",
    "KN": "Knowledge neurons, found by their attribution and overwritten (arXiv 2104.08696).",
    "DEFER": "A second copy of one layer that a scope classifier defers to (arXiv 2211.11031).",
    "MELO": "A codebook that chooses among LoRA blocks (arXiv 2312.11795).",
    "DINM": "One layer's weights trained away from unsafe replies (arXiv 2403.14472).",
    "MEND": "A network that turns gradients into updates (arXiv 2110.11309).",
    "SERAC": "A memory, a scope classifier and a small model beside the big one (arXiv 2206.06520).",
    "IKE": "Demonstrations put before the question (arXiv 2305.12740).",
    "FT-Api": "Fine-tuning of a model behind an API.",
    "DeepEdit-Api": "Decoding with edited knowledge, of a model behind an API.",
}
"""Editors of EasyEdit's, by their names in its ``ALG_DICT``; which of them run depends on what is installed."""


@cache
def host_editors() -> Any:
    """The bridge to EasyEdit, which nothing below ``host`` imports: ``has(name)``, ``get(name)`` and ``names``."""
    return import_module("easyedit_unlearn.host.editors").HostEditors()


@hookimpl
def easyedit_unlearn_tasks() -> Sequence[Lazy]:
    return _components("tasks", TASKS)


@hookimpl
def easyedit_unlearn_target_builders() -> Sequence[Lazy]:
    return _components("targets", TARGET_BUILDERS)


@hookimpl
def easyedit_unlearn_query_mergers() -> Sequence[Lazy]:
    return _components("merging", QUERY_MERGERS)


@hookimpl
def easyedit_unlearn_methods() -> Sequence[Lazy]:
    return [*_components("editors", EDITORS), *_components("baselines", BASELINES)]


@hookimpl
def easyedit_unlearn_metrics() -> Sequence[Lazy]:
    return _components("evaluation", METRICS)


def _components(room: str, table: Table) -> list[Lazy]:
    found = []
    for name, (summary, target) in table.items():
        place, opened, argument = target.rstrip(")").partition("(")
        found.append(Lazy(name, summary, f"easyedit_unlearn.{room}.{place}", argument if opened else None))
    return found
