"""A loss without its graph that is given to `backward()`, and a sum of losses that keeps every graph."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.pysource.idioms._code import Code, keyword, position

_CUTS = frozenset({"item", "detach", "numpy", "tolist", "cpu_item"})


def lost_graph(code: Code) -> Iterator[Idiom]:
    """`loss.detach()` or `torch.tensor(loss, requires_grad=True)` before `backward()`; `total += loss` after it."""
    if not code.imports("torch"):
        return
    yield from _detached(code)
    yield from _summed(code)


def _detached(code: Code) -> Iterator[Idiom]:
    for backward in code.calls("backward"):
        if not isinstance(backward.func, ast.Attribute):
            continue
        value, at = backward.func.value, backward.func.value
        if isinstance(value, ast.Name):
            reaching = _reaching(code, value)
            if reaching is None:
                continue
            at = value = reaching
        how = _cut(code, value)
        if how is not None:
            yield code.idiom("detached_loss", backward, at, how=how)
            return


def _reaching(code: Code, node: ast.Name) -> ast.expr | None:
    """The value that a name certainly has, by the last assignment of the same block."""
    found = code.module.binding(node.id, code.scope(node))
    earlier = [b for b in found[1] if position(b.node) < position(node)] if found is not None else []
    last = max(earlier, key=lambda b: position(b.node), default=None)
    return last.value if last is not None and last.index is None and code.before(last.node, node) else None


def _cut(code: Code, node: ast.expr) -> str | None:
    """What takes the graph from a value."""
    if not isinstance(node, ast.Call):
        return None
    func = node.func
    if isinstance(func, ast.Attribute) and func.attr in _CUTS and not node.args and not node.keywords:
        return f"{func.attr}()"
    name = code.name_of(node)
    grads = keyword(node, "requires_grad")
    on = isinstance(grads, ast.Constant) and grads.value is True
    if name in ("torch.tensor", "torch.FloatTensor", "torch.autograd.Variable") and on and node.args:
        # A constant, or a tensor of this file: the new one knows nothing of the model.
        made = isinstance(node.args[0], ast.Name | ast.Attribute | ast.Call)
        return f"{name.rpartition('.')[2]}(..., requires_grad=True)" if made and name == "torch.tensor" else None
    return None


def _summed(code: Code) -> Iterator[Idiom]:
    tried: set[str] = set()
    for backward in code.calls("backward"):
        loops = code.loops(backward)
        if not loops or not isinstance(backward.func, ast.Attribute) or not isinstance(backward.func.value, ast.Name):
            continue
        loss = backward.func.value.id
        values = code.named(loss, backward)
        if any(
            not isinstance(v, ast.Call | ast.BinOp) or (isinstance(v, ast.Call) and _cut(code, v)) for v, _ in values
        ):
            continue
        for node in ast.walk(loops[0]):
            if not (
                isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add) and isinstance(node.target, ast.Name)
            ):
                continue
            total = node.target.id
            same = isinstance(node.value, ast.Name) and node.value.id == loss and total != loss
            if same and total not in tried and code.loops(node)[:1] == loops[:1]:
                tried.add(total)
                if not _kept(code, total, loss, loops[0], node):
                    continue
                yield code.idiom("graph_kept", node, backward, total=total, loss=loss)
                return


def _kept(code: Code, total: str, loss: str, loop: ast.AST, node: ast.AST) -> bool:
    """Whether the sum lives longer than a pass of the loop, is none to learn from, and holds tensors with a graph."""
    scope = code.scope(loop)
    found = code.module.binding(total, scope)
    if found is None or found[0] is not scope or total in scope.params:
        return False
    if any(isinstance(n, ast.With) and "no_grad" in ast.unparse(n.items[0]) for n in code.outward(node)):
        return False
    for inner in code.reached(scope.node):
        if isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            if inner.value.id == total and inner.attr in ("backward", "detach_", "detach"):
                return False
            if inner.value.id == loss and inner.attr == "detach_":
                return False
        if (
            isinstance(inner, ast.Call)
            and any(isinstance(a, ast.Name) and a.id == total for a in inner.args)
            and code.module.dotted(inner.func).rpartition(".")[2] in ("backward", "grad")
        ):
            return False
    start = [b for b in found[1] if b.value is not None]
    outside = [b for b in start if not code.within(b.node, loop)]
    return bool(outside) and len(outside) == len(start) and all(_is_zero(b.value) for b in outside)


def _is_zero(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value in (0, 0.0) and not isinstance(node.value, bool)
