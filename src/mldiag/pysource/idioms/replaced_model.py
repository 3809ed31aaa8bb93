"""A model that is made anew behind its optimizer, which goes on holding the parameters of the old one."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from mldiag.artifacts import Idiom
from mldiag.pysource.idioms._code import Code


def replaced_model(code: Code) -> Iterator[Idiom]:
    """`optimizer = Adam(model.parameters())`, then `model = Model(...)`, in one block, and the first one steps."""
    if not code.imports("torch"):
        return
    stepped = {optimizer for _, optimizer in code.optimizer_steps()}
    for call in code.calls("parameters"):
        model = code.receiver(call)
        statement = code.statement(call)
        block = getattr(code.parents.get(statement), "body", None)
        if not (
            isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call) and isinstance(block, list)
        ):
            continue
        optimizer = code.module.dotted(statement.targets[0])
        made = code.name_of(statement.value)
        if not made.startswith("torch.optim.") or ".lr_scheduler." in made or optimizer not in stepped or not model:
            continue
        if not any(statement is s for s in block):
            continue
        later = block[next(i for i, s in enumerate(block) if s is statement) + 1 :]
        for position, again in enumerate(later):
            if _assigns(code, again, optimizer):
                break
            new = (
                again.value if isinstance(again, ast.Assign) and code.module.dotted(again.targets[0]) == model else None
            )
            if new is None:
                continue
            if isinstance(new, ast.Call) and _is_fresh(code, new, model, optimizer):
                rest = later[position + 1 :]
                if not any(_assigns(code, s, optimizer) or _gives(code, s, optimizer) for s in rest):
                    yield code.idiom("replaced_model", again, statement, model=model, optimizer=optimizer)
                    return
            break


def _assigns(code: Code, statement: ast.AST, name: str) -> bool:
    return any(
        isinstance(n, ast.Name | ast.Attribute) and isinstance(n.ctx, ast.Store) and code.module.dotted(n) == name
        for n in ast.walk(statement)
    )


def _gives(code: Code, statement: ast.AST, optimizer: str) -> bool:
    """Whether the optimizer is given the new parameters."""
    return any(
        isinstance(n, ast.Attribute)
        and n.attr in ("add_param_group", "param_groups")
        and isinstance(code.parents.get(n), ast.Call | ast.Subscript | ast.Assign)
        and (n.attr == "add_param_group" or isinstance(n.ctx, ast.Store))
        and code.module.dotted(n.value) == optimizer
        for n in ast.walk(statement)
    )


def _is_fresh(code: Code, new: ast.Call, model: str, optimizer: str) -> bool:
    """A new object of a class of this file, that has nothing of the old one."""
    definition = code.module.definition(new.func, code.scope(new))
    return isinstance(definition, ast.ClassDef) and not code.mentions(new, model, optimizer)
