"""mldiag's own configuration: `[tool.mldiag]` of a pyproject.toml, or a mldiag.toml, upward from the checked path.

An unknown key is an error that names the nearest key: a typing error must not silently become a default.
"""

from __future__ import annotations

import os.path
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from mldiag.errors import SettingsError, nearest
from mldiag.expectations import Expectation, Reference, Stated, stated
from mldiag.findings import Severity
from mldiag.rules import Rule

SIZE_LIMIT = 4 * 2**20
KEYS = (
    "select", "ignore", "fail-on", "rules", "per-path-ignores", "rule-folders", "overrides", "expect", "reference",
    "baseline", "against",
)  # fmt: skip
_OVERRIDE = ("runs", "ignore", "rules")

_LISTED = "; `mldiag rules` lists them all"


class Override(Struct, frozen=True):
    """What holds for some runs only: globs on their paths, rules to ignore, options of rules."""

    runs: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


class Config(Struct, frozen=True):
    """What a user configured.

    Attributes:
        select, ignore: codes, names or families; an empty `select` means every rule.
        fail_on: the gate; None for `never`.
        options: rule name → option → value.
        per_path_ignores: glob on the run's path → codes, names or families.
        rule_folders: folders of rules to load, as with `--rules`.
        overrides: ignores and options for some runs only; of several that fit, a later one goes before.
        figures: what the results of runs are held against.
        baseline: the file of accepted findings, as with `--baseline`. `against`: a run, as with `--against`.
        origin: the file it was read from; None for the defaults.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    fail_on: Severity | None = Severity.ERROR
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    per_path_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    rule_folders: tuple[Path, ...] = ()
    overrides: tuple[Override, ...] = ()
    figures: tuple[Stated, ...] = ()
    baseline: Path | None = None
    against: Path | None = None
    origin: Path | None = None

    def with_choice(self, select: Sequence[str], ignore: Sequence[str]) -> Config:
        """With the command line's choice: a given `select` replaces the configured one, `ignore` is added to it."""
        return replace(self, select=tuple(select) or self.select, ignore=(*self.ignore, *ignore))

    def chosen(self, rules: Iterable[Rule], path: str, root: Path | None = None) -> list[Rule]:
        """The rules to apply to a run.

        Args:
            path: as the user named the run.
            root: its folder. A glob of `per_path_ignores` holds for its path from the configuration's folder too, so
                that it does not matter from where mldiag is called.
        """
        names = self._names(path, root)
        ignored = {*self.ignore, *(w for o in self._overrides(names) for w in o.ignore)}
        for glob, words in self.per_path_ignores.items():
            if _fits_one(names, (glob,)):
                ignored |= {*words}
        return [r for r in rules if (not self.select or _named(r, self.select)) and not _named(r, ignored)]

    def figures_of(self, path: str, root: Path) -> list[Expectation | Reference]:
        """The expectations and references that hold for a run, with places relative to its folder."""
        if not self.figures or self.origin is None:
            return []
        names = self._names(path, root)
        file = Path(os.path.relpath(self.origin, root.resolve())).as_posix()
        return [
            replace(s.figure, source=replace(s.figure.source, path=file))
            for s in self.figures
            if not s.runs or _fits_one(names, s.runs)
        ]

    def _names(self, path: str, root: Path | None) -> list[str]:
        """What globs on a run are held against: its path as it was named, and from the configuration's folder."""
        if root is None or self.origin is None:
            return [path]
        below = Path(os.path.relpath(root.resolve(), self.origin.parent)).as_posix()
        return [path, below, f"./{below}"]

    def _overrides(self, names: Iterable[str]) -> list[Override]:
        names = list(names)
        return [o for o in self.overrides if _fits_one(names, o.runs)]

    def check(self, rules: Iterable[Rule]) -> None:
        """Refuses selections and rule options that name nothing, or have a value of another type.

        Raises:
            SettingsError: with the nearest name.
        """
        rules = list(rules)
        words = {w.lower() for r in rules for w in (r.code, r.name, r.family)}
        by_path = [*self.per_path_ignores.values(), *(o.ignore for o in self.overrides)]
        for word in (*self.select, *self.ignore, *(w for words in by_path for w in words)):
            if not any(w == word.lower() or (w.startswith(word.lower()) and word.isalpha()) for w in words):
                raise SettingsError(self._where(f"no rule or family {word!r}{nearest(word.lower(), words) or _LISTED}"))
        for options in (self.options, *(o.options for o in self.overrides)):
            self._check_options(options, {r.name: r for r in rules} | {r.code: r for r in rules})

    def _check_options(self, options: Mapping[str, Mapping[str, Any]], by_name: Mapping[str, Rule]) -> None:
        for name, values in options.items():
            if name not in by_name:
                hint = nearest(name, by_name) or _LISTED
                raise SettingsError(self._where(f"no rule {name!r} in [tool.mldiag.rules]{hint}"))
            known = by_name[name].options
            for option, value in values.items():
                option = option.replace("-", "_")
                if option not in known:
                    raise SettingsError(self._where(f"rule {name} has no option {option!r}{_nearest(option, known)}"))
                if not _fits(value, known[option]):
                    wanted = type(known[option]).__name__
                    raise SettingsError(self._where(f"option {option} of {name} is {value!r}; expected {wanted}"))

    def options_by_name(
        self, rules: Iterable[Rule], path: str = "", root: Path | None = None
    ) -> dict[str, dict[str, Any]]:
        """Rule name → options with underscores, whichever of code and name the file uses; of a run, its own too."""
        tables = [self.options, *(o.options for o in self._overrides(self._names(path, root)))]
        return {
            r.name: {
                k.replace("-", "_"): v for t in tables for key in (r.code, r.name) for k, v in t.get(key, {}).items()
            }
            for r in rules
        }

    def _where(self, message: str) -> str:
        return message if self.origin is None else f"{self.origin}: {message}"


def find(path: Path) -> Config:
    """The configuration that holds for a checked path: the nearest file upward, else the defaults.

    Raises:
        SettingsError: the file cannot be parsed or has an unknown key or a value of a wrong type.
    """
    start = Path(os.path.realpath(path))
    for folder in (start, *start.parents):
        own = folder / "mldiag.toml"
        if _is_file(own):
            return _parsed(own, *_load(own))
        project = folder / "pyproject.toml"
        if _is_file(project):
            whole, text = _load(project)
            table = whole.get("tool", {}).get("mldiag")
            if table is not None:
                return _parsed(project, table, text)
    return Config()


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a folder that may not be entered, which the audit tells
        return False


def _load(path: Path) -> tuple[dict[str, Any], str]:
    from mldiag.toml import loads

    try:
        if path.stat().st_size > SIZE_LIMIT:
            raise ValueError(f"it has more than the {SIZE_LIMIT:,} bytes that are read")
        text = path.read_text(encoding="utf-8")
        return loads(text), text
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path}: cannot be read as TOML: {error}") from error


def _parsed(path: Path, table: Mapping[str, Any], text: str) -> Config:
    for key in table:
        if key not in KEYS:
            raise SettingsError(f"{path}: unknown key {key!r} in [tool.mldiag]{_nearest(key, KEYS)}")
    gate = table.get("fail-on", "error")
    if gate not in (*Severity, "never"):
        raise SettingsError(f"{path}: fail-on is {gate!r}; expected error, warning, info or never")
    return Config(
        select=_words(path, table, "select"),
        ignore=_words(path, table, "ignore"),
        fail_on=None if gate == "never" else Severity(gate),
        options=_tables(path, table.get("rules", {}), "rules"),
        per_path_ignores={
            glob: _words(path, table["per-path-ignores"], glob)
            for glob in _table(path, table.get("per-path-ignores", {}), "per-path-ignores")
        },
        rule_folders=tuple(path.parent / p for p in _words(path, table, "rule-folders")),
        overrides=tuple(_override(path, o) for o in _listed(path, table, "overrides")),
        figures=tuple(stated(path, table, text)) if "expect" in table or "reference" in table else (),
        baseline=_file(path, table, "baseline"),
        against=_file(path, table, "against"),
        origin=path,
    )


def _override(path: Path, table: Any) -> Override:
    table = _table(path, table, "overrides")
    for key in table:
        if key not in _OVERRIDE:
            raise SettingsError(f"{path}: unknown key {key!r} in [[overrides]]{_nearest(key, _OVERRIDE)}")
    runs = (table["runs"],) if isinstance(table.get("runs"), str) else _words(path, table, "runs")
    if not runs:
        raise SettingsError(f'{path}: an entry of [[overrides]] names no runs; expected globs, runs = ["rl/*"]')
    return Override(runs, _words(path, table, "ignore"), _tables(path, table.get("rules", {}), "overrides.rules"))


def _listed(path: Path, table: Mapping[str, Any], key: str) -> list[Any]:
    value = table.get(key, [])
    if not isinstance(value, list):
        raise SettingsError(f"{path}: {key} is {value!r}; expected tables, [[{key}]]")
    return value


def _file(path: Path, table: Mapping[str, Any], key: str) -> Path | None:
    value = table.get(key)
    if value is not None and not isinstance(value, str):
        raise SettingsError(f"{path}: {key} is {value!r}; expected a path")
    return None if value is None else path.parent / value


def _words(path: Path, table: Mapping[str, Any], key: str) -> tuple[str, ...]:
    value = table.get(key, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise SettingsError(f"{path}: {key} is {value!r}; expected a list of strings")
    return tuple(value)


def _table(path: Path, value: Any, key: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{path}: {key} is {value!r}; expected a table")
    return value


def _tables(path: Path, value: Any, key: str) -> Mapping[str, Mapping[str, Any]]:
    return {name: _table(path, inner, f"{key}.{name}") for name, inner in _table(path, value, key).items()}


def _fits_one(names: Iterable[str], globs: Iterable[str]) -> bool:
    names = list(names)
    return any(fnmatch(name, glob) for glob in globs for name in names)


def _named(rule: Rule, words: Iterable[str]) -> bool:
    """A code, a beginning of codes (`CUR`), a name or a family."""
    names = (rule.name, rule.family)
    return any(w.lower() in names or rule.code.startswith(w.upper()) for w in words)


def _fits(value: object, default: object) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, int | float)
    if isinstance(default, tuple):
        return isinstance(value, list)
    return default is None or isinstance(value, type(default))


def _nearest(word: str, known: Iterable[str]) -> str:
    known = list(known)
    return nearest(word, known) or f"; known: {', '.join(sorted(known))}"
