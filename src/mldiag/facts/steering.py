"""Quantities that the program itself turns while it trains: the weight of a term, the noise on the inputs, a length."""

from __future__ import annotations

from itertools import pairwise

from msgspec import Struct

from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.curves import Curve, Curves
from mldiag.patterns import lazily
from mldiag.stats import binned

_STEERED = lazily(
    r"(?:(?:kl|kld|loss|aux|adv|recon|consistency|distill\w*|reg\w*|penalty)_)?(?:beta|lambda|weight|coeff?|coefficient)"
    r"|alpha|anneal\w*|(?:kl_|noise_)?temperature|sparsity|difficulty|curriculum\w*|stage|phase"
    r"|(?:input_|train_)?noise(?:_?(?:level|std|sigma|scale))?|sigma|dropout|drop_path"
    r"|(?:seq|sequence|max|context|block|crop|clip|unroll|rollout)_?(?:len|length|size)|context|horizon"
    r"|(?:im|img|image|input)_?(?:size|res)|resolution|mask(?:ing|ed)?_?(?:ratio|rate|prob)"
    r"|teacher_forcing\w*|(?:aug\w*|mix_?up|cut_?mix)(?:_?(?:prob|strength|magnitude|alpha))?",
    words=(
        "beta",
        "lambda",
        "weight",
        "coef",
        "alpha",
        "anneal",
        "temperature",
        "sparsity",
        "difficulty",
        "curriculum",
        "stage",
        "phase",
        "noise",
        "sigma",
        "drop",
        "len",
        "size",
        "context",
        "horizon",
        "res",
        "mask",
        "teacher",
        "aug",
        "mix",
    ),
)
"""Last parts of their names. A weight decay or a loss scale is none of them: neither changes what is measured."""


class Steering(Struct, frozen=True):
    """The curves of such quantities, each of which only ever rises or only ever falls."""

    curves: tuple[Curve, ...]

    def moved(self, since: float) -> Curve | None:
        """The first that had another value at the end than at a share of the run."""
        for curve in self.curves:
            if curve.values[round(since * (len(curve) - 1))] != curve.values[-1]:
                return curve
        return None


@fact
def steering(curves: Curves) -> Steering:
    """By name, and by the values: at least four, which go one way and are not all the same."""
    named = [n for n in curves if not n.startswith(("val/", "test/")) and _STEERED.fullmatch(n.rpartition("/")[2])]
    found = tuple(c for n in named if (c := curves.get(n)) is not None and len(c) >= 4 and _goes_one_way(c))
    if not found:
        raise NotApplicable("the log holds no weight, length or noise that the program turns")
    return Steering(found)


def _goes_one_way(curve: Curve) -> bool:
    levels = binned(curve.values)
    rises = [b - a for a, b in pairwise(levels)]
    return (min(rises) >= 0 or max(rises) <= 0) and any(rises)
