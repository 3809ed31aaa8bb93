"""The norm of the whole gradient, and whether the log says on which side of the clipping it was taken."""

from __future__ import annotations

from msgspec import Struct

from mldiag.errors import NotApplicable
from mldiag.facts import fact
from mldiag.facts.curves import Curve, Curves
from mldiag.patterns import lazily

_NORM = r"(?:total_|global_)?(?:grad|gradient|gradients|grads)_?(?:l2_)?norm"
_BEFORE = lazily(
    rf"(?:optim_|optimizer_)?(?:{_NORM}_(?:before_clip(?:ping)?|unclipped|pre_?clip|raw)"
    rf"|(?:unclipped|pre_?clip|raw)_{_NORM})",
    words=("grad",),
)
_AFTER = lazily(
    rf"(?:optim_|optimizer_)?(?:{_NORM}_(?:after_clip(?:ping)?|clipped|post_?clip)|(?:clipped|post_?clip)_{_NORM})",
    words=("grad",),
)
_PLAIN = lazily(rf"(?:optim_|optimizer_)?{_NORM}(?:_total)?|grad|grads_norm", words=("grad",))


class GradientNorm(Struct, frozen=True):
    """The logged norm.

    Attributes:
        curve: taken before the clipping where the log has both.
        taken: `before` or `after` the clipping where the name says so, else empty.
        after: the norm after the clipping, where it is logged beside `curve`.
    """

    curve: Curve
    taken: str = ""
    after: Curve | None = None


@fact
def gradient_norm(curves: Curves) -> GradientNorm:
    """`grad_norm`, or a series whose name says the same; of one parameter or layer none counts."""
    named = [n for n in curves if n == "grad_norm" or n.startswith("train/")]
    found = {
        where: curve
        for where, pattern in (("before", _BEFORE), ("", _PLAIN), ("after", _AFTER))
        for curve in [_first(curves, [n for n in named if pattern.fullmatch(n.removeprefix("train/"))])]
        if curve is not None
    }
    for where in ("before", "", "after"):
        if where in found:
            return GradientNorm(found[where], where, found.get("after") if where != "after" else None)
    raise NotApplicable("no norm of the gradient was logged")


def _first(curves: Curves, names: list[str]) -> Curve | None:
    """The first that has values, `grad_norm` before others; norms are not below zero."""
    for name in sorted(names, key=lambda n: n != "grad_norm"):
        curve = curves.get(name)
        if curve is not None and min(curve.values) >= 0:
            return curve
    return None
