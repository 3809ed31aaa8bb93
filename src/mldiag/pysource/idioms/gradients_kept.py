"""Gradients that no line sets back to zero."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.patterns import lazily
from mldiag.pysource.idioms._code import Code

_ZEROING = lazily(
    r"zero_?grad|^zero_$|(?:clear|reset|remove|free|discard|drop)\w*grad|grad\w*(?:clear|reset|none)|none_grad",
    re.IGNORECASE,
)
_LIMIT = 40  # pairs of a backward pass and an optimizer's step that are looked at


def gradients_kept(code: Code) -> Iterator[Idiom]:
    """A loop with `loss.backward()` and `optimizer.step()` in which nothing zeroes the gradients.

    They add up over all steps. Quiet where the optimizer is made in the loop itself, where a function that is not seen
    is given the optimizer or the model, and where a class that is not seen may do it.
    """
    if not code.imports("torch", "lightning", "pytorch_lightning"):
        return
    steps = code.optimizer_steps()
    models = {code.receiver(c) for c in code.calls("parameters", "named_parameters")}
    pairs = [(b, s, o) for b in code.calls("backward", "manual_backward") for s, o in steps]
    known: set[ast.AST] = set()
    for backward, step, optimizer in pairs[:_LIMIT]:
        regions = _regions(code, backward, step)
        if not regions or regions[0] in known or not code.receiver(backward):
            continue
        known.add(regions[0])
        if _is_zeroed(code, regions) or _is_made(code, regions, optimizer):
            continue
        nodes = [n for n in code.reached(*regions) if isinstance(n, ast.Call)]
        if any(code.hidden(n, optimizer, *models) for n in nodes):
            continue
        around = [n for n in code.outward(regions[0]) if isinstance(n, ast.For | ast.While)]
        outer = next((n for n in around if _is_zeroed(code, [n])), None)
        if outer is None and any(_is_zeroed(code, [n]) for n in around):
            continue
        yield code.idiom(
            "gradients_kept",
            backward,
            step,
            *([outer] if outer is not None else []),
            optimizer=optimizer,
            zeroed="in the outer loop" if outer is not None else "nowhere",
            loop=regions[0].lineno if isinstance(regions[0], ast.stmt) else 0,
        )


def _regions(code: Code, backward: ast.Call, step: ast.Call) -> list[ast.AST]:
    """The code that every pass runs: the innermost loop around both, or their function with the loops that call it."""
    function = code.function(backward)
    if function is not code.function(step):
        return []
    common = [n for n in code.loops(backward) if n in code.loops(step)]
    if common:
        return [common[0]]
    if function is None or code.loops(backward) or code.loops(step):
        return []
    callers = [code.loops(c) for c in code.calls(function.name) if code.function(c) is not function]
    if function.name == "training_step" and any(c.attr == "optimizers" for c in _attributes(function)):
        return [function]
    found = [loops[0] for loops in callers if loops]
    return [function, *found] if found and len(found) == len(callers) else []


def _attributes(region: ast.AST) -> Iterator[ast.Attribute]:
    return (n for n in ast.walk(region) if isinstance(n, ast.Attribute))


def _is_zeroed(code: Code, regions: list[ast.AST]) -> bool:
    for node in code.reached(*regions):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if name and _ZEROING.search(name):
            return True
        if name in ("grad", "main_grad") and isinstance(getattr(node, "ctx", None), ast.Store | ast.Del):
            return True
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and "zero_grad" in node.value:
            return True
    return False


def _is_made(code: Code, regions: list[ast.AST], optimizer: str) -> bool:
    """Whether the optimizer, and so perhaps what it trains, is a new one in every pass."""
    root = optimizer.partition("[")[0]
    stores = (n for r in regions for n in ast.walk(r) if isinstance(n, ast.Name | ast.Attribute))
    return any(isinstance(n.ctx, ast.Store) and code.module.dotted(n) in (root, f"{root}s") for n in stores)
