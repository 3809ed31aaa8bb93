"""Loads plugins one by one: a broken plugin costs only itself, and a duplicate name or code is refused.

pluggy's own entry-point loading ends at the first broken plugin and silently ignores a second one of the same name, so
the entry points are walked here; pluggy holds the hook specifications and checks the implementations against them. A
plugin of which the index (`mldiag.index`) says that it offers nothing but these rules is not imported at all.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec import Struct, field

from mldiag.errors import MldiagError, nearest
from mldiag.facts import Facts
from mldiag.files import File
from mldiag.index import facts_listed, rules_listed
from mldiag.installed import entry_points
from mldiag.readers import Choice, Reader
from mldiag.reporters import Reporter
from mldiag.rules import Rule, listed_rule, rules_of
from mldiag.vocabulary import Vocabulary

if TYPE_CHECKING:
    import pluggy

    from mldiag.faults import Fault

GROUP = "mldiag"
_KEYS_KEPT = 8192
_T = TypeVar("_T")


class Loaded(Struct, frozen=True):
    """A plugin that works, for `mldiag plugins`."""

    name: str
    origin: str
    rules: int = 0
    readers: int = 0
    facts: int = 0
    reporters: int = 0


class Plugins(Struct):
    """Everything that plugins offer, and what could not be loaded.

    Attributes:
        broken: one line per plugin, or part of one, that was left out, with the reason.
    """

    rules: dict[str, Rule] = field(default_factory=dict)
    readers: list[Reader] = field(default_factory=list)
    facts: Facts = field(default_factory=Facts)
    reporters: dict[str, Reporter] = field(default_factory=dict)
    vocabulary: Vocabulary = field(default_factory=Vocabulary)
    loaded: list[Loaded] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    _by_name: dict[str, Rule] = field(default_factory=dict)
    _offers_faults: list[tuple[str, Callable[[], Iterable[Fault]]]] = field(default_factory=list)
    _choice: Choice | None = None
    _setting: Callable[[str], str | None] | None = None

    def rule(self, wanted: str) -> Rule:
        """The rule of a code or name, in any case.

        Raises:
            MldiagError: there is none; names the nearest.
        """
        for known in self.rules.values():
            if wanted.lower() in (known.code.lower(), known.name):
                return known
        words = [w for r in self.rules.values() for w in (r.code.lower(), r.name)]
        hint = nearest(wanted.lower(), words) or "; `mldiag rules` lists them all"
        raise MldiagError(f"no rule {wanted!r}{hint}")

    def candidates(self, path: str) -> tuple[Reader, ...]:
        """The readers whose patterns fit a path, in the order in which they are asked."""
        if self._choice is None:
            self._choice = Choice(self.readers)
        if path.endswith((".gz", ".GZ")):
            from mldiag.packed import unpacked_name

            inner = unpacked_name(path)
            return tuple(reader for reader in self._choice(inner) if reader.post) if inner else ()
        return self._choice(path)

    @property
    def setting(self) -> Callable[[str], str | None]:
        """Gives the canonical name of a settings key; names are kept, since thousands of runs have the same keys."""
        if self._setting is None:
            self._setting = lru_cache(_KEYS_KEPT)(self.vocabulary.setting)
        return self._setting

    def faults(self) -> dict[str, Fault]:
        """The faults that plugins offer, by name. Only now are they asked for them: an audit needs none."""
        found: dict[str, Fault] = {}
        for plugin, offer in self._offers_faults:
            try:
                offered = list(offer())
            except Exception as error:
                self.broken.append(f"faults of plugin {plugin} were not loaded: {_one_line(error)}")
                continue
            for each in offered:
                _add(self, found, each.name, each, f"fault {each.name}", plugin)
        return found

    def takes(self, path: str) -> bool:
        """Whether any reader reads files of such a path."""
        # Most are told by their name alone, which is known from the runs before.
        return bool(self.candidates(path.rpartition("/")[2]) or self.candidates(path))

    def may_hold_several(self, path: str) -> bool:
        """Whether some reader of a path is of a format that holds several runs."""
        return any(reader.members for reader in self.candidates(path))

    def members(self, file: File) -> tuple[str, ...]:
        """The runs in a file that may hold several; empty where it is of another kind or cannot be read."""
        if not self.may_hold_several(file.path):
            return ()
        try:
            chosen = next((reader for reader in self.candidates(file.path) if reader.matches(file)), None)
            return tuple(chosen.members(file)) if chosen and chosen.members else ()
        except Exception:  # told, with its reason, when the file is read
            return ()


def load(rule_folders: Iterable[Path] = (), *, listed: bool = True) -> Plugins:
    """Loads the core's own parts, every installed plugin and the rules in the given folders.

    Args:
        listed: believe the index where it holds; without it everything is imported.
    """
    plugins = Plugins()
    _load_core(plugins, listed=listed)
    manager: pluggy.PluginManager | None = None
    for name, target in _entry_points(plugins):
        known = rules_listed(target) if listed else None
        if known:
            origin, entries = known
            family = target.removeprefix("mldiag_")
            count = sum([_add_rule(plugins, name, listed_rule(target, family, entry)) for entry in entries])
            plugins.loaded.append(Loaded(name, origin, rules=count))
            continue
        if manager is None:
            from mldiag.hooks import manager as new_manager

            manager = new_manager()
        _register(plugins, manager, name, target)
    for folder in rule_folders:
        _load_folder(plugins, folder)
    return plugins


def _load_core(plugins: Plugins, *, listed: bool) -> None:
    from mldiag import builtin

    known = facts_listed("mldiag.facts") if listed else None
    if known is not None:
        plugins.facts = Facts(known)
    else:
        for fact in builtin.mldiag_facts():
            plugins.facts.add(fact)
    plugins.readers += builtin.mldiag_readers()
    plugins.reporters |= {reporter.name: reporter for reporter in builtin.mldiag_reporters()}
    plugins._offers_faults.append(("core", builtin.mldiag_faults))
    counts = {"readers": len(plugins.readers), "facts": len(plugins.facts), "reporters": len(plugins.reporters)}
    plugins.loaded.append(Loaded("core", builtin.__file__, **counts))


def _entry_points(plugins: Plugins) -> Iterator[tuple[str, str]]:
    """Name and module of each entry point, sorted; a second one of the same name is refused."""
    seen: dict[str, str] = {}
    for name, module in sorted(entry_points(GROUP)):
        if name not in seen:
            seen[name] = module
            yield name, module
        elif seen[name] != module:
            plugins.broken.append(f"plugin {name} ({module}): the name is taken by {seen[name]}; rename one of them")


def _register(plugins: Plugins, manager: pluggy.PluginManager, name: str, target: str) -> None:
    # Whatever a plugin does while it is imported or asked for its parts must not end the audit.
    try:
        plugin = importlib.import_module(target)
        manager.register(plugin, name)
        manager.check_pending()
        offered = {
            hook: _offers(manager, plugin, f"mldiag_{hook}") for hook in ("rules", "readers", "facts", "reporters")
        }
        words = {k: tuple(v) for o in _calls(manager, plugin, "mldiag_vocabulary") for k, v in o.items()}
    except Exception as error:
        plugins.broken.append(f"plugin {name} was not loaded: {_one_line(error)}")
        return
    counts = {
        "rules": sum([_add_rule(plugins, name, r) for r in offered["rules"]]),
        "facts": sum(
            [plugins.facts.add(f) or _refused(plugins, f"fact {f.type.__name__}", name) for f in offered["facts"]]
        ),
        "reporters": sum(
            [_add(plugins, plugins.reporters, r.name, r, f"format {r.name}", name) for r in offered["reporters"]]
        ),
        "readers": len(offered["readers"]),
    }
    plugins.readers += offered["readers"]
    plugins._offers_faults += ((name, offer) for offer in _implementations(manager, plugin, "mldiag_faults"))
    plugins._choice = plugins._setting = None
    plugins.vocabulary = plugins.vocabulary.extended(words)
    plugins.loaded.append(Loaded(name, getattr(plugin, "__file__", None) or repr(plugin), **counts))


def _implementations(manager: pluggy.PluginManager, plugin: object, hook: str) -> Iterator[Callable[[], Any]]:
    for caller in manager.get_hookcallers(plugin) or ():
        if caller.name == hook:
            for implementation in caller.get_hookimpls():
                if implementation.plugin is plugin:
                    yield implementation.function


def _calls(manager: pluggy.PluginManager, plugin: object, hook: str) -> Iterator[Any]:
    for implementation in _implementations(manager, plugin, hook):
        yield implementation()


def _offers(manager: pluggy.PluginManager, plugin: object, hook: str) -> list[Any]:
    return [part for offer in _calls(manager, plugin, hook) for part in offer]


def _add_rule(plugins: Plugins, plugin: str, rule: Rule) -> bool:
    taken = plugins.rules.get(rule.code) or plugins._by_name.get(rule.name)
    if taken is not None:
        plugins.broken.append(
            f"rule {rule.code} {rule.name} of plugin {plugin} was refused: {taken.code} {taken.name} of {taken.origin} "
            "has that code or name"
        )
        return False
    try:
        if rule.listed is None:
            rule.check_signature()
    except (TypeError, NameError) as error:
        plugins.broken.append(f"rule {rule.code} of plugin {plugin} was refused: {_one_line(error)}")
        return False
    plugins.rules[rule.code] = plugins._by_name[rule.name] = rule
    return True


def _add(plugins: Plugins, table: dict[Any, _T], key: object, part: _T, what: str, plugin: str) -> bool:
    if key in table:
        return _refused(plugins, what, plugin)
    table[key] = part
    return True


def _refused(plugins: Plugins, what: str, plugin: str) -> bool:
    plugins.broken.append(f"{what} of plugin {plugin} was refused: there is one already")
    return False


def _load_folder(plugins: Plugins, folder: Path) -> None:
    if not folder.is_dir():
        raise MldiagError(f"{folder}: no such folder of rules; --rules takes a folder with Python files")
    from importlib import util

    files = sorted(folder.glob("*.py"))
    count = 0
    for file in files:
        name = f"mldiag_rules_{folder.name}_{file.stem}".replace("-", "_")
        try:
            spec = util.spec_from_file_location(name, file)
            if spec is None or spec.loader is None:
                raise ImportError("not a Python module")
            module = util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
            found = list(rules_of(module, folder.name))
        except Exception as error:
            plugins.broken.append(f"{file} was not loaded: {_one_line(error)}")
            continue
        count += sum([_add_rule(plugins, str(file), r) for r in found])
    if not count and not plugins.broken:
        raise MldiagError(f"{folder}: no function under @rule was found in its {len(files)} Python files")
    plugins.loaded.append(Loaded(folder.name, str(folder), rules=count))


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
