"""Configurations in YAML."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mldiag.artifacts import Artifact, Role, Scalar, SettingValue, Site, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._configs.literals import literal
from mldiag.readers._configs.settings import MAX_DEPTH, MAX_LIST, TABLE_SIZE, is_record, is_secret

if TYPE_CHECKING:
    import yaml

SIZE_LIMIT = 4 * 2**20
"""Larger documents are data (annotations, manifests), not configurations."""
NESTING_LIMIT = 200
"""Deeper nesting is refused before it is composed: libyaml's composer recurses on the C stack and would crash."""
VALUES_LIMIT = 20_000
"""More values than this come from aliases that repeat each other (a "billion laughs"), not from a person."""

LONGEST_KEPT = 1_000
"""Characters of a part of a document that is kept for the next run, which mostly has the same."""

# Keys that are more than a name: of W&B, Hydra and Composer, and of the dump that detectron2 makes.
_SPECIAL = frozenset({"value", "_wandb", "defaults", "max_duration", "CUDNN_BENCHMARK"})
# Other tools' files; MLflow's meta.yaml is bookkeeping.
_FOREIGN = frozenset({
    "environment", "conda", "docker-compose", "compose", "mkdocs", "meta", "dvc", "python_env",
    "codecov", "action", "cog", "pnpm-lock", "mlproject", "conda_env", "_config", "readthedocs",
})  # fmt: skip
_OVERRIDE = lazily(r"\+{0,2}([A-Za-z_][\w.@/:\-]*)=(.*)", re.DOTALL)
_DURATION = lazily(r"(\d+)(ep|ba)")
_FORM = "{key}: {value}"
# Scalars that are more than their text: anchors, tags, aliases, blocks.
_MORE = "&!*|>"
_REST = lazily(r"[ \t]*(?:[ \t]#[^\n]*?)?(?=\r?\n|$)")
_FLOAT = lazily(r"[+-]?(\d[\d_]*)?\.?\d[\d_]*([eE][+-]?\d+)")


def _is_config(file: File) -> bool:
    return file.name.rsplit(".", 1)[0].lower() not in _FOREIGN and file.size <= SIZE_LIMIT


@reader("*.yaml", "*.yml", matches=_is_config)
def yaml_config(file: File) -> Iterator[Artifact]:
    """Configurations in YAML, each value with its exact place.

    Nested keys join with dots, Hydra's `defaults` list gives a setting for each group, every document of the file
    counts, anchors and merge keys are followed, W&B's `{value: …, desc: …}` is unwrapped, unknown tags
    (`!!python/object`) are passed over; an enumeration's member is its value. Values are YAML 1.1's, as PyYAML and
    OmegaConf read them, with one exception: an unquoted `3e-4`, which YAML 1.1 calls a string, is the number, because
    every trainer converts it or fails. A value that an alias shares has no span: editing it would change others.

    Of Hydra's own files `overrides.yaml` is a list of `key=value`, and of `hydra.yaml` only the chosen groups are read.
    Composer's `max_duration: 10ep` is the number of epochs, `5000ba` that of steps. Secrets are left out.
    """
    if not file.size:
        raise ReadError("the file is empty")
    plain = None if file.path.endswith(".hydra/hydra.yaml") or file.encoding != "utf-8" else _plain(file)
    if plain is not None:
        yield from plain
        return
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    text = file.text
    try:
        if _may_be_deep(text):
            _refuse_deep(yaml.parse(text, loader))
        documents = list(yaml.compose_all(text, loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "unreadable"
        line = mark.line + 1 if mark else text.count("\n", 0, getattr(error, "position", 0)) + 1
        raise ReadError(f"not valid YAML: {problem}", line=line) from error
    except RecursionError as error:
        raise ReadError("YAML is nested too deeply to be read") from error
    walk = _Walk(file, is_record(file))
    for document in documents:
        walk.note_shared(document)
        if isinstance(document, yaml.SequenceNode):
            yield from walk.overrides(document)
        elif isinstance(document, yaml.MappingNode) and file.path.endswith(".hydra/hydra.yaml"):
            yield from walk.chosen(document)
        elif isinstance(document, yaml.MappingNode):
            walk.record |= walk.is_complete(document)
            yield from walk.mapping(document, ())


def _plain(file: File) -> list[SettingValue] | None:
    """The settings of a plain document, which is ASCII: its characters are its bytes."""
    from mldiag.readers._configs.plain_yaml import parts

    found: list[SettingValue] = []
    record, path = is_record(file), file.path
    keys = set()
    for key, text, number, begin in parts(file.text) or ():
        read = _settings if len(text) <= LONGEST_KEPT else _settings.__wrapped__
        settings = read(text, number, begin, path, record=record)
        if settings is None or key in keys:
            return None
        keys.add(key)
        found += settings
    return found or None


@lru_cache(512)
def _settings(text: str, number: int, begin: int, path: str, *, record: bool) -> tuple[SettingValue, ...] | None:
    """The settings of a part of a document, which begins at a line and a character; kept, since runs have the same."""
    from mldiag.readers._configs.plain_yaml import entries

    found = entries(text, special=_SPECIAL, deepest=MAX_DEPTH, longest=MAX_LIST, largest=TABLE_SIZE)
    if found is None:
        return None
    settings = []
    for entry in found:
        if isinstance(entry.value, tuple) or not is_secret(entry.path[-1], entry.value):
            name, line = ".".join(entry.path), number + entry.number - 1
            start, end = begin + entry.start, begin + entry.end
            indent = " " * (len(entry.line) - len(entry.line.lstrip(" ")))
            if start == end:  # a null that is not written, which no edit replaces
                place = Source(path, line, key=name, excerpt=entry.line)
                settings.append(SettingValue(name, entry.value, Role.FILE, place, record=record))
                continue
            site = Site(begin + entry.begin + len(entry.line), f"\n{indent}{_FORM}")
            column = entry.start - entry.begin + 1
            place = Source(path, line, column, name, start, end, text[entry.start : entry.end], entry.line)
            settings.append(SettingValue(name, entry.value, Role.FILE, place, "yaml", (), record, site))
    return tuple(settings)


def _may_be_deep(text: str) -> bool:
    """Whether a document can be nested deeply: each level needs a bracket, or two of them a further column."""
    return text.count("[") + text.count("{") + 2 * max(map(len, text.split("\n"))) >= NESTING_LIMIT


def _refuse_deep(events: Iterator[Any]) -> None:
    depth = 0
    for event in events:
        kind = type(event).__name__
        depth += kind.endswith(("MappingStartEvent", "SequenceStartEvent"))
        depth -= kind.endswith(("MappingEndEvent", "SequenceEndEvent"))
        if depth > NESTING_LIMIT:
            raise ReadError(f"YAML nested more than {NESTING_LIMIT} levels deep", line=event.start_mark.line + 1)


class _Walk:
    """From nodes to settings."""

    def __init__(self, file: File, record: bool) -> None:
        from yaml.constructor import SafeConstructor

        self._file = file
        self._line_end = "\r\n" if "\r\n" in file.text else "\n"
        self.record = record
        self._construct = SafeConstructor()
        self._seen: set[int] = set()
        self._shared: set[int] = set()
        self._owners: dict[int, tuple[yaml.Node, yaml.MappingNode]] = {}
        self._budget = self._merges = VALUES_LIMIT

    def note_shared(self, document: Any) -> None:
        """Notes the nodes that aliases make several values of, with all that is in them."""
        if "*" not in self._file.text:
            return
        met: set[int] = set()
        stack = [(document, False)]
        while stack:
            node, shared = stack.pop()
            shared |= id(node) in met
            if node is None or id(node) in self._shared or (id(node) in met and not shared):
                continue
            met.add(id(node))
            if shared:
                self._shared.add(id(node))
            if node.id == "mapping":
                stack += [(part, shared) for pair in node.value for part in pair]
            elif node.id == "sequence":
                stack += [(part, shared) for part in node.value]

    def is_complete(self, node: yaml.MappingNode) -> bool:
        """detectron2 dumps every setting there is, which a person does not write."""
        return self._pairs(node).keys() >= {"CUDNN_BENCHMARK", "DATALOADER", "OUTPUT_DIR", "SOLVER"}

    def overrides(self, node: yaml.SequenceNode) -> Iterator[SettingValue]:
        """Hydra's list of what the command line said: `key=value`, also to be added (`+key=value`)."""
        for item in node.value:
            match = _OVERRIDE.fullmatch(str(item.value)) if item.id == "scalar" else None
            if match is None or is_secret(match[1], match[2]):
                continue
            start = item.start_mark.index + (item.style in ("'", '"')) + match.start(2)
            exact = not item.style and match[2]
            place = self._file.source(start, start + len(match[2]) if exact else None, key=match[1])
            yield SettingValue(match[1], literal(match[2]), Role.FILE, place, record=self.record)

    def chosen(self, node: yaml.MappingNode) -> Iterator[SettingValue]:
        """The groups that Hydra chose, which say what files of `conf/` the run took."""
        for key in ("hydra", "runtime", "choices"):
            found = self._pairs(node).get(key)
            if found is None or found.id != "mapping":
                return
            node = found
        for group, value in self._pairs(node).items():
            if value.id == "scalar" and not group.startswith("hydra/"):
                yield self._setting(("defaults", group), value, self._scalar(value), wrapped=True)

    def mapping(self, node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[SettingValue]:
        pairs = self._pairs(node)
        if path and self._is_table(pairs):
            return
        for key, value in pairs.items():
            if key == "_wandb":
                continue
            self._budget -= 1
            if self._budget < 0:
                raise ReadError(f"more than {VALUES_LIMIT:,} values; aliases that repeat each other?", partial=True)
            inner = self._unwrapped(value)
            here = (*path, key)
            kind = inner.id
            if kind == "mapping":
                if len(here) < MAX_DEPTH:
                    yield from self.mapping(inner, here)
            elif kind == "scalar":
                scalar = self._scalar(inner)
                if not is_secret(key, scalar):
                    yield self._setting(here, inner, scalar, wrapped=inner is not value)
                if key == "max_duration" and (span := _DURATION.fullmatch(str(scalar))):
                    unit = "epochs" if span[2] == "ep" else "total_steps"
                    place = self._file.at(inner.start_mark.line + 1, key=".".join((*path, unit)))
                    yield SettingValue(unit, int(span[1]), Role.FILE, place, record=self.record)
            elif here == ("defaults",):
                yield from self._choices(inner)
            elif len(inner.value) <= MAX_LIST and all(n.id == "scalar" for n in inner.value):
                found = tuple(self._scalar(n) for n in inner.value)
                # `!!python/object/apply:…SchedulerType [linear]` is a member of an enumeration.
                member = len(found) == 1 and "python/object/apply" in inner.tag
                yield self._setting(here, inner, found[0] if member else found, wrapped=inner is not value)

    def _choices(self, node: yaml.SequenceNode) -> Iterator[SettingValue]:
        """Hydra's list of which file each group takes: `- model: base` gives `defaults.model`."""
        for item in node.value:
            if item.id == "mapping":
                for key, value in self._pairs(item).items():
                    if value.id == "scalar":
                        group = key.split("@")[0].removeprefix("override ").strip("/ ")
                        yield self._setting(("defaults", group), value, self._scalar(value), wrapped=False)

    def _setting(
        self, path: tuple[str, ...], node: yaml.Node, value: Scalar | tuple[Scalar, ...], *, wrapped: bool
    ) -> SettingValue:
        name = ".".join(path)
        start, end = node.start_mark.index, node.end_mark.index
        if id(node) in self._seen or start == end:
            place = self._file.at(node.start_mark.line + 1, key=name)
        else:
            place = self._file.source(start, end, key=name)
        self._seen.add(id(node))
        exact = place.text is not None and "\n" not in place.text and place.text[0] not in _MORE
        syntax = "yaml" if exact and id(node) not in self._shared else None
        record = self.record or wrapped
        return SettingValue(name, value, Role.FILE, place, syntax, (), record, self._site(node) if syntax else None)

    def _site(self, node: yaml.Node) -> Site | None:
        """Behind a value on the line of its key: after the line, or in a flow mapping after the value."""
        key, mapping = self._owners.get(id(node), (None, None))
        if key is None or mapping is None:
            return None
        text, end = self._file.text, node.end_mark.index
        if mapping.flow_style:
            return Site(self._file.byte_offset(end), f", {_FORM}")
        begun, at = text.rfind("\n", 0, key.start_mark.index) + 1, key.start_mark.index
        rest = _REST.match(text, end)
        indent = text[begun:at]
        if rest is None or indent.strip(" ") or key.start_mark.line != node.end_mark.line:
            return None
        line_end = "\r\n" if text[rest.end() : rest.end() + 1] == "\r" else self._line_end
        return Site(self._file.byte_offset(rest.end()), f"{line_end}{indent}{_FORM}")

    def _pairs(self, node: yaml.MappingNode, depth: int = 0) -> dict[str, Any]:
        """Keys as text, the last of duplicates; what `<<` merges in comes first and is overridden."""
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, value in node.value:
            if key.id == "scalar" and key.tag == "tag:yaml.org,2002:merge" and depth < MAX_DEPTH:
                for part in value.value if value.id == "sequence" else [value]:
                    if part.id == "mapping":
                        self._merges -= 1 + len(part.value)
                        if self._merges < 0:
                            raise ReadError(
                                f"`<<` merges in more than {VALUES_LIMIT:,} values; aliases that repeat each other?"
                            )
                        merged = {**self._pairs(part, depth + 1), **merged}
            elif key.id == "scalar":
                own[key.value] = value
                self._owners[id(value)] = key, node
        return merged | own

    @staticmethod
    def _unwrapped(node: Any) -> Any:
        if node.id != "mapping":
            return node
        keys = {k.value: v for k, v in node.value if k.id == "scalar"}
        return keys["value"] if "value" in keys and set(keys) <= {"value", "desc"} else node

    @staticmethod
    def _is_table(pairs: dict[str, Any]) -> bool:
        if pairs and all(k.isdigit() for k in pairs):
            return True
        return len(pairs) > TABLE_SIZE and len({(v.id, v.tag) for v in pairs.values()}) == 1

    def _scalar(self, node: yaml.ScalarNode) -> Scalar:
        kind = node.tag.rpartition(":")[2]
        text = str(node.value)
        try:
            if kind == "null":
                return None
            if kind == "bool":
                return bool(self._construct.construct_yaml_bool(node))
            if kind == "int":
                return int(self._construct.construct_yaml_int(node))
            if kind == "float":
                return float(self._construct.construct_yaml_float(node))
        except (ValueError, KeyError):  # `!!int abc`
            return text
        if not text and "python/name" in node.tag:
            return kind
        if not node.style and _FLOAT.fullmatch(text):
            return float(text.replace("_", ""))
        return text
