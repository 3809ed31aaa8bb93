"""A loss that is not divided by the number of batches whose gradients are added up."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.idioms._code import LOOPS, Code, keyword

_ACCUMULATION = lazily(r"accum|acc_steps|acc_iter|micro_?batches|micro_?steps|num_micro", re.IGNORECASE)
_SCALES = frozenset({"div", "div_", "mul", "mul_", "true_divide", "divide", "multiply", "item", "detach", "sum", "pow"})
_DEPTH_LIMIT = 16
_OTHER = lazily(r"deepspeed|accelerat|fabric|colossal", re.IGNORECASE)


def undivided_loss(code: Code) -> Iterator[Idiom]:
    """Gradients of several batches are added before the optimizer's step, each from a whole loss, or are not kept.

    Where the number is called accumulation in the source, one loop runs over it (or a test on its multiple guards the
    step), and nothing between the loss functions of the file and `backward()` divides or scales the loss or the
    gradients.
    """
    if not code.imports("torch") or any(_OTHER.search(name) for name in code.module.imports):
        return
    steps = code.optimizer_steps()
    thrown = list(_discarded(code, steps))
    yield from thrown
    lost = {place.line for idiom in thrown for place in idiom.also}
    for backward in code.calls("backward"):
        loops = code.loops(backward)
        function = code.function(backward)
        if not loops or (code.module.aliases.get(code.receiver(backward).partition(".")[0])):
            continue
        for step, optimizer in steps:
            if code.function(step) is not function or _count(code, steps, step, optimizer) > 2:
                continue
            if step.lineno in lost:
                continue
            factor = _factor(code, backward, step)
            if factor is None or factor == "1" or _scaled(code, backward, loops[-1]):
                continue
            yield code.idiom("undivided_loss", backward, step, factor=factor, loop=loops[0].lineno)
            return


def _discarded(code: Code, steps: list[tuple[ast.Call, str]]) -> Iterator[Idiom]:
    """Gradients that every batch sets to zero, though the optimizer steps once in several."""
    for step, optimizer in steps:
        loops = code.loops(step)
        backward = [b for b in code.calls("backward") if loops and code.loops(b)[:1] == loops[:1]]
        factor = _modulus(code, backward[0], step) if len(backward) == 1 else None
        zeroing = [c for c in code.calls("zero_grad") if code.within(c, loops[0])] if loops else []
        if factor in (None, "1") or len(zeroing) != 1 or _count(code, steps, step, optimizer) > 1:
            continue
        zero = zeroing[0]
        direct = any(s is code.statement(zero) for s in loops[0].body)
        if direct and code.receiver(zero) == optimizer and code.before(zero, backward[0]):
            yield code.idiom("accumulation_discarded", zero, step, optimizer=optimizer, factor=str(factor))
            return


def _count(code: Code, steps: list[tuple[ast.Call, str]], step: ast.Call, optimizer: str) -> int:
    """How often the same function steps an optimizer."""
    function = code.function(step)
    return sum(o == optimizer and code.function(s) is function for s, o in steps)


def _factor(code: Code, backward: ast.Call, step: ast.Call) -> str | None:
    """The number of batches that are added up before one step, as the source writes it."""
    own, loop = code.loops(step), code.loops(backward)[0]
    if loop not in own:
        # `for _ in range(accum): ... backward()`, and the step behind it.
        if isinstance(loop, ast.For) and own and own[0] in [n for n in code.outward(loop) if isinstance(n, LOOPS)][:1]:
            return _named(code, loop.iter)
        return None
    return _modulus(code, backward, step) if own[0] is loop else None


def _modulus(code: Code, backward: ast.Call, step: ast.Call) -> str | None:
    """The n of `if (i + 1) % n == 0:` around the step alone, or of `continue` before it."""
    loop = code.loops(step)[0]
    every = list(code.calls("backward"))
    inner: ast.AST = step
    for outer in code.outward(step):
        guards: list[ast.If] = []
        if isinstance(outer, ast.If) and any(inner is s for s in outer.body):
            if any(code.within(b, outer) for b in every):
                return None  # another backward pass, for this step alone
            guards = [outer]
        elif outer is loop:
            guards = [
                s for s in loop.body
                if isinstance(s, ast.If) and backward.lineno < s.lineno < step.lineno
                and any(isinstance(n, ast.Continue) for n in s.body)
            ]  # fmt: skip
        for guard in guards:
            for node in ast.walk(guard.test):
                if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
                    return _named(code, node.right) or ast.unparse(node.right)[:40]
        if outer is loop:
            break
        inner = outer
    return None


def _named(code: Code, node: ast.AST) -> str | None:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name | ast.Attribute):
            dotted = code.module.dotted(inner)
            if _ACCUMULATION.search(dotted.rpartition(".")[2]):
                return dotted
    return None


def _scaled(code: Code, backward: ast.Call, outer: ast.AST) -> bool:
    """Whether the loss may be smaller than that of a whole batch, or its gradients are scaled."""
    assert isinstance(backward.func, ast.Attribute)
    looked: set[str] = set()
    if _is_scaled(code, backward.func.value, looked, 0):
        return True
    for node in code.reached(outer):
        changed = isinstance(node, ast.AugAssign) and not isinstance(node.op, ast.Add)
        if changed and code.module.dotted(node.target) in looked:  # type: ignore[attr-defined]
            return True
        if isinstance(node, ast.Attribute) and node.attr in ("grad", "main_grad", "accumulate"):
            return True
    return False


def _is_scaled(code: Code, node: ast.expr, looked: set[str], depth: int) -> bool:
    """Follows a loss back to the functions that compute it; what is not seen counts as scaled."""
    if depth > _DEPTH_LIMIT:
        return True
    depth += 1
    match node:
        case ast.BinOp(op=ast.Add() | ast.Sub()):
            return any(_is_scaled(code, n, looked, depth) for n in (node.left, node.right))
        case ast.BinOp():
            return True
        case ast.IfExp():
            return any(_is_scaled(code, n, looked, depth) for n in (node.body, node.orelse))
        case ast.Attribute() | ast.Subscript():
            return _is_scaled(code, node.value, looked, depth)
        case ast.Name():
            if node.id in looked:
                return False
            looked.add(node.id)
            if node.id in code.scope(node).params:
                return True
            return any(_is_scaled(code, v, looked, depth) for v, _ in code.named(node.id, node))
        case ast.Call():
            return _is_scaled_call(code, node, looked, depth)
    return not isinstance(node, ast.Constant)


def _is_scaled_call(code: Code, call: ast.Call, looked: set[str], depth: int) -> bool:
    name = code.module.dotted(call.func)
    last = name.rpartition(".")[2]
    root = name.partition(".")[0].rstrip("()[]")
    if _named(code, call) is not None or last in _SCALES or _not_mean(call):
        return True
    if isinstance(call.func, ast.Call):  # `nn.CrossEntropyLoss()(x, y)`
        return _is_scaled_call(code, call.func, looked, depth)
    function = code.module.definition(call.func, code.scope(call))
    if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
        return _returns_scaled(code, function, looked, depth)
    if root in code.module.aliases:
        return code.is_own(root)
    if root == "self":
        owner = code.owner(call)
        methods = [f for f in code.functions.get(last, ()) if code.parents.get(f) is owner]
        if methods:
            return _returns_scaled(code, methods[0], looked, depth)
    model = code.model_class(call.func)
    if model is not None:
        forward = [f for f in model.body if isinstance(f, ast.FunctionDef) and f.name == "forward"]
        return not forward or _returns_scaled(code, forward[0], looked, depth)
    if last == "scale" and call.args:
        return _is_scaled(code, call.args[0], looked, depth)
    made = [v for v, _ in code.named(name, call)]
    if made:
        return any(not isinstance(v, ast.Call) or _not_mean(v) or code.is_own(code.module.dotted(v.func)) for v in made)
    if isinstance(call.func, ast.Attribute) and last in ("mean", "to", "float", "squeeze"):
        return _is_scaled(code, call.func.value, looked, depth)
    # A model or a loss that a function was given.
    return not (isinstance(call.func, ast.Name) and root in code.scope(call).params)


def _returns_scaled(code: Code, function: ast.FunctionDef | ast.AsyncFunctionDef, looked: set[str], depth: int) -> bool:
    if _named(code, ast.Module([*function.body], [])) is not None:
        return True
    returns = code.module.scopes[function].returns
    return not returns or any(r is None or _returned_scaled(code, r, looked, depth) for r in returns)


def _returned_scaled(code: Code, node: ast.expr, looked: set[str], depth: int) -> bool:
    if isinstance(node, ast.Tuple):
        return any(_is_scaled(code, e, looked, depth) for e in node.elts if not _is_none(e))
    return _is_scaled(code, node, looked, depth)


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _not_mean(call: ast.Call) -> bool:
    reduction = keyword(call, "reduction")
    return reduction is not None and not (isinstance(reduction, ast.Constant) and reduction.value == "mean")
