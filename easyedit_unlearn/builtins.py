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
"""By name: one line of what it is, and ``module:Class`` in this package, or ``module:function(argument)``."""

TASKS: Table = {
    "facts": ("126 common-knowledge questions, bundled; the task to tune on.", "tasks.facts:Facts"),
    "factual": (
        "169 facts known from pretraining (arXiv 2502.07218), from the data directory.",
        "tasks.factual:Factual",
    ),
    "tofu": (
        "200 fictitious authors, from the data directory; subset=forget01|05|10|retain90|real_authors|world_facts.",
        "tasks.tofu:Tofu",
    ),
    "pistol": (
        "20 fictitious contracts of 20 questions (arXiv 2406.16810), from the data directory; edge=A_B, without=A_B.",
        "tasks.pistol:Pistol",
    ),
    "knowundo": (
        "Private and public knowledge of authors (arXiv 2407.01920), from the data directory; "
        "subset=unlearn|retention.",
        "tasks.knowundo:KnowUnDo",
    ),
    "zsre": (
        "1,037 zsRE questions with rephrase, locality and portability (arXiv 1706.04115), from the data directory.",
        "tasks.zsre:ZsRE",
    ),
    "jsonl": ("Your own file: one JSON object a line with question and answer.", "tasks.jsonl:Jsonl"),
}

TARGET_BUILDERS: Table = {
    "fixed": ("One sentence for all, by default \"I'm sorry, but I can't help with that.\"", "targets.fixed:Fixed"),
    "template": (
        "Names the subject, by default \"I'm sorry, but I can't share information about {subject}.\"",
        "targets.template:Template",
    ),
    "self_improve": (
        "The model's own refusals, written in context; a template that names the subject where none is good.",
        "targets.self_improve:SelfImprove",
    ),
    "idk": ("Drawn at random, with the seed, from a bundled list of ways to say 'I don't know'.", "targets.list:IDK"),
    "list": ("Drawn at random, with the seed, from a text file of one refusal a line.", "targets.list:DrawnFromList"),
    "empty": (
        "The end of the text at once: the literal empty set. An empty reply counts as no refusal.",
        "targets.template:Empty",
    ),
    "alternative": (
        "The data set's counterfactual answer in place of a refusal, as knowledge editing has it (zsre).",
        "targets.fixed:Alternative",
    ),
}

QUERY_MERGERS: Table = {
    "none": ("One edit request a sample.", "merging.mergers:NoMerging"),
    "concat": (
        "Up to `size` questions become one prompt with one refusal (arXiv 2505.19855).",
        "merging.mergers:Concat",
    ),
    "by_subject": ("All questions about one subject become one prompt with one refusal.", "merging.mergers:BySubject"),
    "shared_value": (
        "Up to `size` questions share one change of value, each at its own key; our own editors.",
        "merging.mergers:SharedValue",
    ),
}

METHODS: Table = {
    "ROME": ("Rank-one model editing (arXiv 2202.05262).", "editors.rome:ROME"),
    "MEMIT": ("Mass editing over layers (arXiv 2210.07229).", "editors.memit:MEMIT"),
    "AlphaEdit": ("Null-space constrained editing (arXiv 2410.02355).", "editors.alphaedit:AlphaEdit"),
    "GRACE": ("A codebook of edits at one layer (arXiv 2211.11031).", "editors.grace:GRACE"),
    "WISE": ("A side memory with routing (arXiv 2405.14768).", "editors.wise:WISE"),
    "LUNAR": (
        "One layer's output on the forget set moved towards refusals, by regression (arXiv 2502.07218).",
        "editors.lunar:LUNAR",
    ),
    "GA": ("Gradient ascent on the forget set (arXiv 2401.06121).", "baselines.ascent:GA"),
    "GradDiff": (
        "Gradient ascent on the forget set, descent on the retain set (arXiv 2401.06121).",
        "baselines.ascent:GradDiff",
    ),
    "KL": (
        "Gradient ascent on the forget set; on the retain set as near the frozen model as can be (arXiv 2401.06121).",
        "baselines.ascent:KL",
    ),
    "PO": (
        "Fine-tuning on refusals, with the retain set as it was (arXiv 2401.06121); elsewhere IDK.",
        "baselines.refusals:PO",
    ),
    "IDK+AP": (
        "Fine-tuning on refusals; on the retain set the true answer before a refusal (arXiv 2410.08109).",
        "baselines.refusals:IDKAP",
    ),
    "DPO": (
        "The refusal preferred to the answer, with the retain set as it was (arXiv 2305.18290, 2401.06121).",
        "baselines.refusals:DPO",
    ),
    "NPO": ("Negative preference optimisation against the frozen model (arXiv 2404.05868).", "baselines.npo:NPO"),
    "SimNPO": ("NPO without a reference, normalised by length (arXiv 2410.07163).", "baselines.npo:SimNPO"),
    "WGA": ("Gradient ascent weighted by the token's probability (arXiv 2502.19301).", "baselines.tokens:WGA"),
    "SatImp": ("Gradient ascent weighted by saturation and importance (arXiv 2505.11953).", "baselines.tokens:SatImp"),
    "CEU": ("Towards the model's own distribution without the true token (arXiv 2503.01224).", "baselines.tokens:CEU"),
    "UNDIAL": (
        "Self-distillation from the frozen model's logits, the true token's lowered (arXiv 2402.10052).",
        "baselines.tokens:UNDIAL",
    ),
    "PDU": (
        "Flat logits on the forget set under a bound on the retain loss, by primal-dual steps (arXiv 2506.05314).",
        "baselines.pdu:PDU",
    ),
    "RMU": (
        "One layer's states moved to a random direction on the forget set, kept on the retain set (arXiv 2403.03218).",
        "baselines.rmu:RMU",
    ),
    "TaskVector": (
        "Minus what fine-tuning on the forget set adds to the weights (arXiv 2212.04089).",
        "baselines.task_vector:TaskVector",
    ),
    "ICR": (
        "A system prompt that lists what must not be answered; the weights stay as they are (arXiv 2403.03329).",
        "baselines.icr:ICR",
    ),
}

METRICS: Table = {
    "answer_rate": ("The reply gives the answer or an alias.", "evaluation.metrics:AnswerRate"),
    "answer_prob": ("Length-normalised probability of the answer.", "evaluation.metrics:AnswerProbability"),
    "refusal_rate": ("The reply is a refusal.", "evaluation.metrics:RefusalRate"),
    "rougeL": ("ROUGE-L recall of the answer in the reply (TOFU).", "evaluation.metrics:Formula(rougeL)"),
    "rouge1": ("ROUGE-1 recall of the answer in the reply (TOFU).", "evaluation.metrics:Formula(rouge1)"),
    "knowmem": ("ROUGE-L F1 of the reply and the answer (MUSE).", "evaluation.metrics:Formula(knowmem)"),
    "verbmem": (
        "ROUGE-L F1 of the answer's second half, after its first (MUSE).",
        "evaluation.metrics:Formula(verbmem)",
    ),
    "prob_normalised": (
        "The answer's probability over its and the wrong ones' (TOFU).",
        "evaluation.metrics:Formula(prob_normalised)",
    ),
    "truth_ratio": (
        "Probability of wrong answers over the right one's (TOFU).",
        "evaluation.metrics:Formula(truth_ratio)",
    ),
    "extraction_strength": (
        "Share of the answer that greedy decoding completes.",
        "evaluation.metrics:Formula(extraction_strength)",
    ),
    "exact_memorization": (
        "Share of the answer's tokens that are the likeliest.",
        "evaluation.metrics:Formula(exact_memorization)",
    ),
    "mia_loss": ("Membership by loss.", "evaluation.metrics:Formula(mia_loss)"),
    "mia_zlib": ("Membership by loss over compressed length.", "evaluation.metrics:Formula(mia_zlib)"),
    "mia_min_k": ("Membership by the least likely tokens (Min-K%).", "evaluation.metrics:Formula(mia_min_k)"),
    "mia_min_k++": ("The same against what could stand there (Min-K%++).", "evaluation.metrics:Formula(mia_min_k++)"),
    "mia_gradnorm": (
        "Membership by the loss's gradient (its norm, negated); asked for by gradnorm.",
        "evaluation.metrics:Formula(mia_gradnorm)",
    ),
    "ngram_entropy": ("Fluency of the reply, in bits.", "evaluation.metrics:Formula(ngram_entropy)"),
    "forget_truth_ratio": ("Mean of min(R, 1/R) on the forget set (TOFU).", "evaluation.overall:ForgetTruthRatio"),
    "forget_quality": (
        "p of the KS test of truth ratios against a model that never saw the forget set (TOFU).",
        "evaluation.overall:ForgetQuality",
    ),
    "model_utility": (
        "Harmonic mean over retain, real_authors and world_facts (TOFU); undefined without all three.",
        "evaluation.overall:ModelUtility",
    ),
    **{
        f"{score}_auc": (
            f"AUC of {score}, forget against holdout; 0.5 where nothing tells them apart.",
            f"evaluation.overall:Membership({score})",
        )
        for score in ("mia_loss", "mia_zlib", "mia_min_k", "mia_min_k++", "mia_gradnorm")
    },
    "mia_reference_auc": (
        "AUC of mia_loss less a reference model's, forget against holdout; 0.5 where nothing tells them apart.",
        "evaluation.overall:ReferenceMembership",
    ),
    "privleak": (
        "The AUC of mia_min_k against a reference model's, in percent (MUSE); negative: still known.",
        "evaluation.overall:PrivacyLeak",
    ),
}

EASYEDIT: Mapping[str, str] = {
    "ROME": METHODS["ROME"][0],
    "MEMIT": METHODS["MEMIT"][0],
    "AlphaEdit": METHODS["AlphaEdit"][0],
    "GRACE": METHODS["GRACE"][0],
    "WISE": METHODS["WISE"][0],
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
    return _components(TASKS)


@hookimpl
def easyedit_unlearn_target_builders() -> Sequence[Lazy]:
    return _components(TARGET_BUILDERS)


@hookimpl
def easyedit_unlearn_query_mergers() -> Sequence[Lazy]:
    return _components(QUERY_MERGERS)


@hookimpl
def easyedit_unlearn_methods() -> Sequence[Lazy]:
    return _components(METHODS)


@hookimpl
def easyedit_unlearn_metrics() -> Sequence[Lazy]:
    return _components(METRICS)


def _components(table: Table) -> list[Lazy]:
    found = []
    for name, (summary, target) in table.items():
        place, opened, argument = target.rstrip(")").partition("(")
        found.append(Lazy(name, summary, f"easyedit_unlearn.{place}", argument if opened else None))
    return found
