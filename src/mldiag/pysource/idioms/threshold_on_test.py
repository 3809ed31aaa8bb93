"""A threshold that is chosen by what it scores on the test."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.idioms._code import Code, keyword
from mldiag.vocabulary import normalized, split_of

_THRESHOLD = lazily(r"(.*_)?(threshold|thresh|thr|thres|cutoff|cut_off|tau|limiar|umbral|best_t|t_best|opt_t)(_.*)?")
_SAID = lazily(r".*(thresh|cutoff|limiar|umbral).*")
_CURVES = frozenset({"precision_recall_curve", "roc_curve"})
_BEST = frozenset({"argmax", "nanargmax", "idxmax", "argmin", "argsort"})
# A program with these names has put examples aside that are not called test.
_LATER = frozenset({"holdout", "heldout", "final", "blind", "unseen"})


def threshold_on_test(code: Code) -> Iterator[Idiom]:
    """The four ways to take the best of many thresholds: `max` with a key, a list of scores, a loop, a curve's argmax.

    What the candidates are compared with must be named for the test (`test.score`, `y_test`, `df["test"]`), all of it.
    The result must be called a threshold, by its own name or where it is printed or saved.
    """
    if any(word in _LATER for name in code.module.names for word in normalized(name).split("_")):
        return
    for call, _ in code.module.calls:
        last = code.module.last_name(call)
        if last == "max" and isinstance(key := keyword(call, "key"), ast.Lambda) and len(key.args.args) == 1:
            yield from _chosen(code, call, key.body, key.args.args[0].arg)
        elif last == "max" or last in _BEST:
            for inner in ast.walk(call):
                if isinstance(inner, ast.ListComp | ast.GeneratorExp) and isinstance(
                    inner.generators[0].target, ast.Name
                ):
                    yield from _chosen(code, call, inner.elt, inner.generators[0].target.id)
        elif last in _CURVES:
            yield from _of_curve(code, call)
    for node in ast.walk(code.module.tree):
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name):
            yield from _of_loop(code, node, node.target.id)


def _chosen(code: Code, call: ast.Call, scored: ast.expr, candidate: str) -> Iterator[Idiom]:
    examples = _compared(scored, candidate)
    name = _target(code.statement(call))
    if examples and name and _is_threshold(code, name):
        yield code.idiom("threshold_on_test", call, threshold=name, examples=examples)


def _of_loop(code: Code, loop: ast.For, candidate: str) -> Iterator[Idiom]:
    """`for t in thresholds: ...; if f1 > best: best, best_t = f1, t`, where nothing but the test is compared."""
    found = [e for statement in loop.body if (e := _compared(statement, candidate))]
    others = [s for statement in loop.body if (s := _other_splits(statement))]
    if not found or others:
        return
    for node in ast.walk(loop):
        if isinstance(node, ast.If):
            for statement in node.body:
                name = _kept(statement, candidate)
                if name and _is_threshold(code, name):
                    yield code.idiom("threshold_on_test", statement, threshold=name, examples=found[0])
                    return


def _of_curve(code: Code, call: ast.Call) -> Iterator[Idiom]:
    """`_, _, thr = precision_recall_curve(y_test, p_test)`, and then `thr[argmax(...)]`."""
    statement = code.statement(call)
    given = call.args[:2] if len(call.args) > 1 else [k.value for k in call.keywords]
    splits = [_split(g) for g in given]
    if not isinstance(statement, ast.Assign) or statement.value is not call or splits[:2] != ["test", "test"]:
        return
    unpacked = statement.targets[0]
    if not isinstance(unpacked, ast.Tuple) or len(unpacked.elts) != 3 or not isinstance(unpacked.elts[2], ast.Name):
        return
    function = code.function(call)
    # The name may hold another curve's thresholds elsewhere.
    curves = [c for last in _CURVES for c, _ in code.module.calls_by_name.get(last, ()) if code.function(c) is function]
    if any(_split(c.args[0]) != "test" for c in curves if c.args):
        return
    for node in ast.walk(function or code.module.tree):
        if not isinstance(node, ast.Subscript) or not isinstance(node.value, ast.Name):
            continue
        if node.value.id != unpacked.elts[2].id or code.function(node) is not function:
            continue
        name = _target(code.statement(node))
        if name and _is_threshold(code, name) and _takes_the_best(code, node.slice):
            yield code.idiom("threshold_on_test", node, threshold=name, examples=_text(given[0]))
            return


def _takes_the_best(code: Code, index: ast.expr) -> bool:
    """Whether an index is an argmax, or a name that one was given to."""
    if isinstance(index, ast.Name):
        found = code.module.binding(index.id, code.scope(index))
        values = [b.value for b in found[1]] if found is not None else []
        return len(values) == 1 and values[0] is not None and _has_best(code, values[0])
    return _has_best(code, index)


def _has_best(code: Code, node: ast.expr) -> bool:
    return any(isinstance(n, ast.Call) and code.module.last_name(n) in _BEST for n in ast.walk(node))


def _compared(node: ast.AST, candidate: str) -> str:
    """What a candidate is compared with, where that is named for the test and nothing else is; else empty."""
    found = ""
    # `[loss > t for loss in test_losses]`
    each = {
        g.target.id: g.iter
        for part in ast.walk(node)
        if isinstance(part, ast.ListComp | ast.GeneratorExp)
        for g in part.generators
        if isinstance(g.target, ast.Name)
    }
    for part in ast.walk(node):
        if isinstance(part, ast.Compare) and len(part.comparators) == 1:
            sides = (part.left, part.comparators[0])
            for one, other in (sides, sides[::-1]):
                if isinstance(one, ast.Name) and one.id == candidate:
                    data = each.get(other.id, other) if isinstance(other, ast.Name) else other
                    if _split(data) != "test":
                        return ""
                    found = _text(data)
    return found if not _other_splits(node) else ""


def _other_splits(node: ast.AST) -> bool:
    return any(isinstance(n, ast.Name) and split_of(n.id) in ("train", "val") for n in ast.walk(node))


def _split(node: ast.expr) -> str | None:
    """The split that an expression of data is named for: by a name, an attribute or a constant key."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        named = node.attr if isinstance(node, ast.Attribute) else ""
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            named = str(node.slice.value)
        if found := split_of(named):
            return found
        node = node.func if isinstance(node, ast.Call) else node.value
    return split_of(node.id) if isinstance(node, ast.Name) else None


def _target(statement: ast.AST) -> str:
    """The one name that a statement assigns to; empty where it does not."""
    if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        target = statement.targets[0]
        if isinstance(target, ast.Tuple):
            # `best_f1, best_t = max((f1(t), t) for t in candidates)`
            names = [e.id for e in target.elts if isinstance(e, ast.Name)]
            return next((n for n in names if _THRESHOLD.fullmatch(normalized(n))), "")
        return target.id if isinstance(target, ast.Name) else ""
    return ""


def _kept(statement: ast.AST, candidate: str) -> str:
    """The name that a statement gives the candidate to."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    target, value = statement.targets[0], statement.value
    targets = target.elts if isinstance(target, ast.Tuple) else [target]
    values = value.elts if isinstance(value, ast.Tuple) else [value]
    pairs = zip(targets, values, strict=False)
    return next(
        (a.id for a, b in pairs if isinstance(a, ast.Name) and isinstance(b, ast.Name) and b.id == candidate), ""
    )


def _is_threshold(code: Code, name: str) -> bool:
    """Whether a name is called a threshold: by itself, or by a text or key beside it."""
    if _THRESHOLD.fullmatch(normalized(name)):
        return True
    for node in ast.walk(code.module.tree):
        if isinstance(node, ast.Call):
            texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            named = any(isinstance(a, ast.Name) and a.id == name for a in node.args)
            if named and any(_SAID.fullmatch(t.lower()) for t in texts):
                return True
        if isinstance(node, ast.Dict):
            for key, value in zip(node.keys, node.values, strict=True):
                said = (
                    isinstance(key, ast.Constant) and isinstance(key.value, str) and _SAID.fullmatch(key.value.lower())
                )
                if said and any(isinstance(n, ast.Name) and n.id == name for n in ast.walk(value)):
                    return True
    return False


def _text(node: ast.AST) -> str:
    return ast.unparse(node)[:40]
