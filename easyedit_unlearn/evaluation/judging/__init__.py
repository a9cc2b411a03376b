"""Every judgement of what a reply says: pure functions on strings, one stated rule each; no model is needed.

``gives_answer``: does it give the answer. ``is_refusal``, ``refusal_kind``: will it not say, or not know.
``is_babble``: does it say nothing at all. ``split_thought``: what a reasoning model thinks, and what it then says.
"""

from easyedit_unlearn.evaluation.judging.answers import SENTENCE as SENTENCE
from easyedit_unlearn.evaluation.judging.answers import contains_answer as contains_answer
from easyedit_unlearn.evaluation.judging.answers import gives_answer as gives_answer
from easyedit_unlearn.evaluation.judging.babble import is_babble as is_babble
from easyedit_unlearn.evaluation.judging.mentions import gives_away as gives_away
from easyedit_unlearn.evaluation.judging.mentions import names_subject as names_subject
from easyedit_unlearn.evaluation.judging.refusals import RefusalKind as RefusalKind
from easyedit_unlearn.evaluation.judging.refusals import declines as declines
from easyedit_unlearn.evaluation.judging.refusals import is_refusal as is_refusal
from easyedit_unlearn.evaluation.judging.refusals import refusal_kind as refusal_kind
from easyedit_unlearn.evaluation.judging.thoughts import split_thought as split_thought
