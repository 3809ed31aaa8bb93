"""Whether the options that a source shows are all that its program takes."""

from __future__ import annotations

import ast

from mldiag.pysource.literals import folded
from mldiag.pysource.module import Module, Scope
from mldiag.pysource.options import click_name, destination, is_click, keyword, spelled

# What may be asked of a parser without giving it options that the source does not show.
_METHODS = frozenset({
    "add_argument", "add_argument_group", "add_mutually_exclusive_group", "parse_args", "parse_intermixed_args",
    "set_defaults", "get_default", "print_help", "print_usage", "format_help", "format_usage", "error", "exit",
})  # fmt: skip
_OPENING = ("parse_known_args", "parse_known_intermixed_args", "add_subparsers")
_OPENING_KEYWORDS = frozenset({"parents", "fromfile_prefix_chars", "prefix_chars", "argument_default"})
_PARSES = ("parse_args", "parse_intermixed_args")
_ARGV_CHANGES = tuple(f"sys.argv.{m}" for m in ("append", "remove", "insert", "pop", "extend", "clear"))


def is_closed(module: Module) -> bool:
    """True only where one parser takes exactly the options that stand in the file.

    One `argparse.ArgumentParser` whose every argument is written with literal names, which no code outside the file
    gets hold of, and which parses the command line as it is; or one click command. Anything else may take more.
    """
    if (
        module.changes_argv
        or "argv" in module.stores
        or any(
            module.resolved_call(c) in _ARGV_CHANGES
            for name in ("append", "remove", "insert", "pop", "extend", "clear")
            for c, _ in module.calls_by_name.get(name, ())
        )
    ):
        return False
    parsers = [(c, s) for c, s in module.calls if module.last_name(c).endswith(("ArgumentParser", "ArgParser"))]
    if parsers:
        return len(parsers) == 1 and _one_parser(module, *parsers[0])
    return _one_command(module)


def _one_parser(module: Module, parser: ast.Call, scope: Scope) -> bool:
    plain = module.resolved_call(parser) == "argparse.ArgumentParser"
    if not plain or any(k.arg is None or k.arg in _OPENING_KEYWORDS for k in parser.keywords):
        return False
    if any(name in module.calls_by_name for name in _OPENING):
        return False
    added = module.calls_by_name.get("add_argument", ())
    if not added or any(spelled(c) is None or destination(c) is None for c, _ in added):
        return False
    parsing = [c for name in _PARSES for c, _ in module.calls_by_name.get(name, ())]
    reads = [reads_command_line(module, c) for c in parsing]
    return None not in reads and True in reads and _stays_here(module, parser, scope)


def reads_command_line(module: Module, call: ast.Call) -> bool | None:
    """Whether `parse_args` reads the command line as it is; None where it may read an edited one."""
    given = call.args[0] if call.args else keyword(call, "args")
    if given is None or (isinstance(given, ast.Constant) and given.value is None):
        return True
    if folded(given) == ():
        return False
    whole = isinstance(given, ast.Subscript) and module.dotted(given.value) == "sys.argv"
    return True if whole or isinstance(given, ast.Name) else None


def _stays_here(module: Module, parser: ast.Call, scope: Scope) -> bool:
    """Whether every use of the parser, under whatever name this file gives it, is one that adds nothing unseen."""
    names: list[tuple[Scope, str]] = []
    functions: list[ast.AST] = []
    known: set[tuple[Scope, str] | ast.AST] = set()

    def held(node: ast.AST, where: Scope) -> bool:
        """Follows one expression that is the parser; False where it gets out of sight."""
        parent = module.parents.get(node)
        if isinstance(parent, ast.Attribute):
            return parent.attr in _METHODS and _group_stays(parent, where)
        if isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr):
            targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
            return all(isinstance(t, ast.Name) and note(t.id, where) for t in targets)
        if isinstance(parent, ast.Return):
            if where.node not in known:
                known.add(where.node)
                functions.append(where.node)
            return isinstance(where.node, ast.FunctionDef)
        if isinstance(parent, ast.keyword):
            call = module.parents.get(parent)
            return isinstance(call, ast.Call) and handed(call, where, parent.arg)
        if isinstance(parent, ast.Call) and node in parent.args:
            return handed(parent, where, parent.args.index(node))
        return isinstance(parent, ast.Expr)

    def _group_stays(method: ast.Attribute, where: Scope) -> bool:
        if method.attr not in ("add_argument_group", "add_mutually_exclusive_group"):
            return True
        call = module.parents.get(method)
        return isinstance(call, ast.Call) and held(call, where)

    def note(name: str, where: Scope) -> bool:
        found = module.binding(name, where)
        if found is not None and (found[0], name) not in known:
            known.add((found[0], name))
            names.append((found[0], name))
        return found is not None

    def handed(call: ast.Call, where: Scope, to: int | str | None) -> bool:
        function = module.definition(call.func, where)
        if not isinstance(function, ast.FunctionDef) or to is None:
            return False
        inner = module.scopes[function]
        if isinstance(to, int):
            positional = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
            if to >= len(positional):
                return False
            to = positional[to]
        return to in inner.params and note(to, inner)

    def named_stays(owner: Scope, name: str) -> bool:
        for use, where in module.every_use(name):
            found = module.binding(name, where)
            if found is not None and found[0] is owner and not held(use, where):
                return False
        return True

    def function_stays(function: ast.AST) -> bool:
        assert isinstance(function, ast.FunctionDef)
        if any(module.definition(use, where) is function for use, where in module.uses.get(function.name, ())):
            return False
        calls = module.calls_by_name.get(function.name, ())
        return all(held(c, where) for c, where in calls if module.definition(c.func, where) is function)

    if not held(parser, scope):
        return False
    # Both grow while they are followed.
    done_names = done_functions = 0
    while done_names < len(names) or done_functions < len(functions):
        if done_names < len(names):
            done_names += 1
            if not named_stays(*names[done_names - 1]):
                return False
        else:
            done_functions += 1
            if not function_stays(functions[done_functions - 1]):
                return False
    return True


def _one_command(module: Module) -> bool:
    commands = [
        node
        for node in module.scopes
        if isinstance(node, ast.FunctionDef) and any(is_click(module, d, "command") for d in node.decorator_list)
    ]
    if len(commands) != 1 or b"ignore_unknown_options" in module.spans.data or b"allow_extra_args" in module.spans.data:
        return False
    known = ("command", "option", "argument", "version_option", "help_option", "pass_context")
    for decorator in commands[0].decorator_list:
        if not is_click(module, decorator, *known):
            return False
        if isinstance(decorator, ast.Call) and is_click(module, decorator, "option") and click_name(decorator) is None:
            return False
    return not any(module.resolved_call(c) in ("click.group", "click.Group") for c, _ in module.calls)
