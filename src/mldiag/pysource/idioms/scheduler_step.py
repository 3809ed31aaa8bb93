"""A learning-rate schedule that is moved on at the wrong place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.idioms._code import LOOPS, Code, position

_EPOCHS = lazily(r"(?:^|_)(?:epoch|epochs|ep|epoca|epocas)(?:$|_|\d)", re.IGNORECASE)
_STEPS = lazily(
    r"^(?:num_|max_|total_|n_|train(?:ing)?_|optimi[sz]er_)*(?:steps|iters|iterations|updates)(?:_per_epoch)?$"
    r"|^(?:num_)?warm_?up_(?:steps|iters|iterations)$|^t_total$|^steps_per_epoch$", re.IGNORECASE,
)  # fmt: skip
_ACCUMULATION = lazily(r"accum|acc_steps|acc_iter|micro_?batch|micro_?steps", re.IGNORECASE)
_PER_EPOCH = lazily(r"(?:steps|iters|iterations|batches)_per_epoch|^(?:num|n)_batches$", re.IGNORECASE)
_TRACE_LIMIT = 60
_ALWAYS_STEPS = frozenset({
    "OneCycleLR", "get_linear_schedule_with_warmup", "get_cosine_schedule_with_warmup",
    "get_polynomial_decay_schedule_with_warmup", "get_cosine_with_hard_restarts_schedule_with_warmup",
})  # fmt: skip
_MADE_OF = frozenset({"LambdaLR", "CosineAnnealingLR", "LinearLR", "SequentialLR", "PolynomialLR"}) | _ALWAYS_STEPS


def scheduler_step(code: Code) -> Iterator[Idiom]:
    """`scheduler.step()` before the optimizer's, once per epoch of a schedule in steps, or once per micro-batch.

    Only for PyTorch's own schedules and those of transformers, made in this file.
    """
    if not code.imports("torch"):
        return
    steps = code.optimizer_steps()
    known: set[str] = set()
    for call in code.calls("step"):
        name = code.receiver(call)
        made = _made(code, name, call)
        if made is None or call.args or call.keywords:
            continue
        first = made.args[0] if made.args else None
        optimizer = code.module.dotted(first) if first is not None else ""
        own = [s for s, o in steps if o == optimizer] if optimizer else []
        for kind, other in _wrong(code, call, made, own or [s for s, _ in steps]):
            if kind not in known:
                known.add(kind)
                kindname = code.name_of(made).rpartition(".")[2]
                yield code.idiom(kind, call, other, made, scheduler=name, schedule=kindname, step_line=other.lineno)


def _made(code: Code, name: str, at: ast.AST) -> ast.Call | None:
    """The call that makes a schedule, where one does."""
    values = [v for v, _ in code.named(name, at)] if name else []
    found = [v for v in values if isinstance(v, ast.Call)]
    if len(values) != 1 or not found:
        return None
    full = code.name_of(found[0])
    last = full.rpartition(".")[2]
    ours = full.startswith(("torch.optim.lr_scheduler.", "transformers."))
    return (
        found[0]
        if ours and last in _MADE_OF | {"StepLR", "MultiStepLR", "ExponentialLR", "CosineAnnealingWarmRestarts"}
        else None
    )


def _wrong(code: Code, call: ast.Call, made: ast.Call, steps: list[ast.Call]) -> Iterator[tuple[str, ast.Call]]:
    loops = code.loops(call)
    names, divides = _trace(code, made)
    kind = code.name_of(made).rpartition(".")[2]
    counts_steps = (
        kind in _MADE_OF
        and not divides
        and (any(_STEPS.search(n) for n in names) or (kind in _ALWAYS_STEPS and "len()" in names))
    )
    for step in steps:
        inner = code.loops(step)
        if code.function(step) is not code.function(call) or not inner or not loops:
            continue
        backward = [b for b in code.calls("backward") if code.loops(b)[:1] == inner[:1]]
        if inner[0] is loops[0] and code.before(call, step) and not _again(code, call, inner[0], steps):
            first = next((b for b in code.calls("backward") if code.within(b, inner[0])), None)
            if first is not None and position(call) < position(step):
                yield "scheduler_before_optimizer", step
        elif loops[0] in inner[1:] and backward and counts_steps and _is_epochs(loops[0]):
            also_inside = any(_again(code, call, n, steps) for n in inner[: inner.index(loops[0])])
            if not also_inside:
                yield "scheduler_per_epoch", step
        elif inner[0] is loops[0] and _guarded(code, step) and not _guarded(code, call) and backward:
            in_steps = counts_steps and any(_ACCUMULATION.search(n) for n in names)
            if in_steps:
                yield "scheduler_per_micro_batch", step


def _again(code: Code, call: ast.Call, region: ast.AST, steps: list[ast.Call]) -> bool:
    """Whether the same schedule is moved on at another place of the region."""
    name = code.receiver(call)
    return any(
        c is not call and code.receiver(c) == name and code.within(c, region)
        for c in code.calls("step")
        if c not in steps
    )


def _is_epochs(loop: ast.AST) -> bool:
    if not isinstance(loop, ast.For):
        return False
    parts = [loop.target, loop.iter]
    return any(
        _EPOCHS.search(n.id if isinstance(n, ast.Name) else n.attr)
        for p in parts
        for n in ast.walk(p)
        if isinstance(n, ast.Name | ast.Attribute)
    )


def _guarded(code: Code, node: ast.AST) -> bool:
    """Whether only some passes of the innermost loop get there: `if i % n == 0:` around, or `continue` before."""
    inner = node
    for outer in code.outward(node):
        if isinstance(outer, ast.If) and any(isinstance(n, ast.Mod) for n in ast.walk(outer.test)):
            return True
        if isinstance(outer, LOOPS):
            return any(_skips(s) for s in outer.body if position(s) < position(inner))
        inner = outer
    return False


def _skips(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.If)
        and any(isinstance(n, ast.Mod) for n in ast.walk(statement.test))
        and any(isinstance(n, ast.Continue) for n in ast.walk(statement))
    )


def _trace(code: Code, made: ast.Call) -> tuple[set[str], bool]:
    """Every name behind the arguments of a schedule, and whether they turn steps into epochs."""
    todo: list[ast.AST] = [*made.args[1:], *made.keywords]
    names: set[str] = set()
    divides = False
    looked: set[ast.AST] = set()
    while todo and len(looked) < _TRACE_LIMIT:
        part = todo.pop()
        if part in looked:
            continue
        looked.add(part)
        for node in ast.walk(part):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mult):
                if isinstance(node.op, ast.Div | ast.FloorDiv) and _per_epoch(node.right):
                    divides = True
            elif isinstance(node, ast.keyword) and node.arg:
                names.add(node.arg)
            elif isinstance(node, ast.Attribute):
                names.add(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
                names.add("len()")
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id not in names:
                names.add(node.id)
                todo += [v for v, _ in code.named(node.id, node)]
                definition = code.module.definition(node, code.scope(node))
                if isinstance(definition, ast.FunctionDef):
                    todo += definition.body
    return names, divides


def _per_epoch(node: ast.expr) -> bool:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Name) and inner.func.id == "len":
            return True
        name = inner.id if isinstance(inner, ast.Name) else inner.attr if isinstance(inner, ast.Attribute) else ""
        if name and _PER_EPOCH.search(name):
            return True
    return False
