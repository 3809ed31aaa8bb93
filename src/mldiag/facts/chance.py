"""What a predictor that knows nothing scores: the constant predictor's loss and accuracy."""

from __future__ import annotations

import math

from msgspec import Struct

from mldiag.artifacts import Program, Role, Scalar, Settings, SettingValue, Source, as_count
from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.patterns import lazily

_CLASSIFIER = lazily(r"For\w*Classification|ForMultipleChoice|ForQuestionAnswering")


class Chance(Struct, frozen=True):
    """The uniform predictor over `classes` classes.

    Attributes:
        classes: number of classes (or of vocabulary entries, for a language model), proven by an artifact; at least 2.
        loss: ln(classes), in nats: cross-entropy of the uniform prediction (Cover and Thomas 2006, ch. 2).
        accuracy: 1 / classes, a fraction: what a uniform guess hits on balanced classes.
        source: where the number of classes was read; `name`: the setting that states it.
    """

    classes: int
    loss: float
    accuracy: float
    source: Source | None
    name: str


@fact
def chance(settings: Settings | None, program: Program | None) -> Chance:
    """From `num_classes`, else `vocab_size`, else a dimension that the source fixes; never guessed from a loss.

    A stated `num_classes` of 0 or 1 is a regression or a binary head and says nothing about ln C. Where several places
    disagree, nothing is proven. The vocabulary of a model that classifies texts is what it reads, not what it answers.
    """
    found = settings or Settings()
    classifier = next((v for v in found.all("architectures") if _CLASSIFIER.search(str(v.value))), None)
    for name in ("num_classes", "vocab_size"):
        if name == "vocab_size" and classifier is not None:
            raise NotApplicable(f"a classifier of texts, and nothing states its classes ({classifier.source})")
        stated = [v for v in found.all(name) if _count(v.value)]
        if name in found.ambiguous or len({v.value for v in stated}) > 1:
            raise NotApplicable(f"{name} is not one number: {' and '.join(_said(v) for v in stated[:2])}")
        if stated and not (stated[0].role is Role.DEFAULT and program is not None and program.launch is None):
            return _chance(_count(stated[0].value), stated[0].source, name)
        for build in program.builds if program is not None else ():
            if build.name == name and _count(build.value):
                return _chance(_count(build.value), build.source, name)
    raise NotApplicable("nothing states the number of classes or the vocabulary size")


def _chance(classes: int, source: Source, name: str) -> Chance:
    return Chance(classes, math.log(classes), 1 / classes, source, name)


def _count(value: Scalar | tuple[Scalar, ...]) -> int:
    """A number of classes; 0 where the value is none."""
    count = as_count(value) or 0
    return count if count >= 2 else 0


def _said(value: SettingValue) -> str:
    return f"{value.value} at {value.source}"
