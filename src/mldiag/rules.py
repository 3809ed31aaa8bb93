"""The shape of a rule: a function whose positional parameters are inputs and whose keyword-only ones are options."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache, cached_property
from typing import Any, cast

from msgspec import Struct

from mldiag.findings import Finding, Safety, Severity
from mldiag.groups import Group
from mldiag.index import Parameter, at, place_of
from mldiag.patterns import lazily

Check = Callable[..., Iterable[Finding]]
_MARK = "__mldiag_rule__"
_SAFETIES = {"safe": Safety.SAFE, "unsafe": Safety.UNSAFE, "shown": Safety.SHOW}
_CODE = lazily(r"[A-Z]{3}\d{3}")
_GROUP = place_of(Group)


class Input(Struct, frozen=True):
    """A positional parameter: an artifact or fact type, and whether the rule can do without it (`T | None`)."""

    name: str
    type: type
    optional: bool


class Later:
    """A function that is imported when it is called or looked at."""

    def __init__(self, place: str) -> None:
        self._place = place

    @cached_property
    def function(self) -> Callable[..., Any]:
        return cast(Callable[..., Any], at(self._place))

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self.function(*args, **options)


class Rule(Struct, frozen=True):
    """A detector with everything that can be said of it without running it; the fields are those of `rule`.

    Attributes:
        listed: its inputs as the index has them: `check` is imported when those are there. None for a rule that was
            imported when it was loaded.
    """

    code: str
    name: str
    family: str
    severity: Severity
    pre: bool
    explains: tuple[str, ...]
    check: Check
    origin: str
    gives_way_to: tuple[str, ...] = ()
    listed: tuple[Parameter, ...] | None = None

    @property
    def function(self) -> Check:
        """What stands under `@rule`, imported."""
        return self.check.function if isinstance(self.check, Later) else self.check

    @property
    def inputs(self) -> tuple[Input, ...]:
        return inputs_of(self.function)

    @property
    def options(self) -> Mapping[str, Any]:
        """Option name → default. The default's type is the option's type."""
        return options_of(self.function)

    @property
    def compares(self) -> bool:
        """It looks at several runs at once: one of its inputs is a `Group`."""
        if self.listed is not None:
            return any(place == _GROUP for _, place, _ in self.listed)
        return any(wanted.type is Group for wanted in self.inputs)

    def check_signature(self) -> None:
        """Finds out now, not in the middle of an audit, whether the parameters can be understood.

        Raises:
            TypeError, NameError: a parameter without a usable type, or an option without a default.
        """
        inputs_of(self.function)
        bare = [name for name, default in self.options.items() if default is inspect.Parameter.empty]
        if bare:
            raise TypeError(f"option {bare[0]!r} of {self.origin}.{self.function.__name__} needs a default")

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.function) or ""

    @property
    def fix(self) -> Safety | None:
        """The best its fix can be, as the first word of the page's Fix section says; None without such a section."""
        found = re.search(r"^## Fix\n(?:Only )?(\w+)", self.doc, re.MULTILINE)
        return _SAFETIES.get(found[1].lower()) if found else None

    @property
    def summary(self) -> str:
        return self.doc.partition("\n")[0]

    @property
    def stem(self) -> str:
        """Shared by the rule's file, its case and its page: `sch001_truncated_schedule`."""
        return f"{self.code}_{self.name}".lower().replace("-", "_")


def rule(
    code: str,
    *,
    severity: str,
    pre: bool = False,
    explains: Iterable[str] = (),
    gives_way_to: Iterable[str] = (),
) -> Callable[[Check], Check]:
    """Marks a function as a rule; its name, with dashes, is the rule's name.

    Args:
        code: three capitals and three digits, never reused.
        severity: `error`, `warning` or `info`; a finding may override it.
        pre: what it checks is known before training.
        explains: codes of rules whose findings this one can cause.
        gives_way_to: codes of rules that say the truer thing about the same values: where one of them has found
            something at least as severe, this rule is skipped, since both together would contradict each other.

    Raises:
        ValueError: malformed code or unknown severity.
    """
    if not _CODE.fullmatch(code):
        raise ValueError(f"rule code {code!r} is not three capitals and three digits")
    fields = (code, Severity(severity), pre, tuple(explains), tuple(gives_way_to))

    def mark(check: Check) -> Check:
        setattr(check, _MARK, fields)
        return check

    return mark


def as_rule(check: Check, family: str) -> Rule:
    """The `Rule` of a marked function."""
    code, severity, pre, explains, gives_way_to = getattr(check, _MARK)
    name = check.__name__.replace("_", "-")
    return Rule(code, name, family, severity, pre, explains, check, check.__module__, gives_way_to)


def listed_rule(package: str, family: str, entry: tuple[Any, ...]) -> Rule:
    """The `Rule` of an entry of the index (`entry_of`); its module is imported when it is applied or looked at."""
    module, function, code, severity, pre, explains, gives_way_to, inputs = entry
    origin = f"{package}.{module}" if module else package
    name = function.replace("_", "-")
    check = Later(f"{origin}:{function}")
    return Rule(code, name, family, Severity(severity), pre, explains, check, origin, gives_way_to, inputs)


def entry_of(package: str, rule: Rule) -> tuple[Any, ...]:
    """What the index keeps of a rule, which is not looked at again when it is loaded from there."""
    rule.check_signature()
    module = rule.origin[len(package) + 1 :]
    severity, inputs = rule.severity.value, parameters_of(rule.inputs)
    return (module, rule.function.__name__, rule.code, severity, rule.pre, rule.explains, rule.gives_way_to, inputs)


def parameters_of(inputs: Iterable[Input]) -> tuple[Parameter, ...]:
    """Inputs as the index keeps them."""
    return tuple((wanted.name, place_of(wanted.type), wanted.optional) for wanted in inputs)


def rules_of(module: types.ModuleType, family: str) -> Iterator[Rule]:
    """The rules that a module defines itself, in the order of their definition."""
    for value in vars(module).values():
        if hasattr(value, _MARK) and getattr(value, "__module__", None) == module.__name__:
            yield as_rule(value, family)


def annotation(function: Callable[..., Any], name: str) -> Any:
    """The evaluated annotation of a parameter, or of `return`; None where there is none.

    `typing.get_type_hints` and `inspect.signature` say the same and more; over all rules and facts they cost a small
    audit a tenth of its time.
    """
    written = function.__annotations__.get(name)
    return eval(written, function.__globals__) if isinstance(written, str) else written  # noqa: S307 (loaded code)


@cache
def inputs_of(function: Callable[..., Any]) -> tuple[Input, ...]:
    """The typed positional parameters of a rule or fact.

    Raises:
        TypeError, NameError: a parameter without a usable type.
    """
    code = function.__code__
    return tuple(_input(name, annotation(function, name), function) for name in code.co_varnames[: code.co_argcount])


@cache
def options_of(function: Callable[..., Any]) -> Mapping[str, Any]:
    """Keyword-only parameters and their defaults; `inspect.Parameter.empty` for one that has none."""
    code = function.__code__
    names = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    defaults = function.__kwdefaults__ or {}
    return {name: defaults.get(name, inspect.Parameter.empty) for name in names}


def _input(name: str, hint: Any, function: Callable[..., Any]) -> Input:
    arguments = typing.get_args(hint)
    optional = type(None) in arguments
    kinds = [a for a in arguments if a is not type(None)] if optional else [hint]
    if len(kinds) != 1 or not isinstance(kinds[0], type):
        place = f"{function.__module__}.{function.__qualname__}"
        raise TypeError(f"parameter {name!r} of {place} needs an artifact or fact type, not {hint!r}")
    return Input(name, kinds[0], optional)
