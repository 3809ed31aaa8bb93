"""CFG007: an option or configuration key that the program never reads."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    Flag,
    Idiom,
    NotApplicable,
    Program,
    PythonSource,
    Role,
    Settings,
    Severity,
    rule,
)


@rule("CFG007", severity="warning", pre=True)
def ignored_setting(program: Program, settings: Settings | None, *, min_similarity: float = 0.6) -> Iterator[Finding]:
    """A value was given to the program, which never reads it.

    ## What it checks
    Options of argparse that no line reads off the parsed command line, and keys of a YAML, JSON or TOML file that the
    program loads by its literal path and never reads. The parsed namespace is followed through names, functions,
    classes and attributes of the file. It is certain or quiet: where the namespace is handed to something that is
    not seen, is passed as `**vars(args)`, or has its names computed, nothing is said; writing it down (`print`,
    `json.dump(vars(args))`, a tracker's configuration) is no reading. An option that only a second, fixed
    `parse_args([...])` reads is ignored too: what the command line gave is lost; all of these are told together, as an
    information where what was given is the default. An option that the launch gives is a
    warning; one that nobody gives is a leftover, and an information. Options whose help says that they are
    deprecated or ignored are left out, and what a launcher passes (`--local_rank`).

    ## Why it matters
    The run was not what its command line says: gradient clipping that was asked for did not happen, and a search over
    a setting compared equal runs.

    ## Inputs
    The source of the program, its launch, and configuration files.

    ## Options
    - `min_similarity` (ratio 0-1, default 0.6): how alike a name that is read must be to be named as the nearest, by
      the share of matching characters (the default of Python's `difflib`).

    ## Fix
    Only shown: use the option where it belongs, or remove it.

    ## When to ignore
    An option kept so that old launch scripts go on working.

    ## Source
    Python documentation, argparse. Tried on 613 files of installed packages that declare options: the twelve
    findings there that were looked up are options that no line reads.
    """
    if not program.sources:
        raise NotApplicable("no source of the program was found")
    followed = [(s, i) for s in program.sources for i in s.idioms if i.name in ("options_followed", "config_followed")]
    if not followed:
        raise NotApplicable("no options or configuration whose every use the source shows")
    for source in program.sources:
        unread = [i for i in source.idioms if i.name == "unread_option" and not _is_imported(program, source)]
        idle = []
        replaced = []
        for idiom in unread:
            flag = _given(program, source, idiom)
            if flag is None:
                idle.append(idiom)
            elif idiom.also:
                replaced.append((idiom, flag))
            else:
                yield _ignored(source, idiom, flag, min_similarity)
        if replaced:
            yield _replaced(source, replaced)
        if idle:
            yield _leftover(source, idle)
    if settings is not None:
        for source, idiom in followed:
            if idiom.name == "config_followed":
                yield from _keys(program, source, idiom, settings, min_similarity)


def _is_imported(program: Program, source: PythonSource) -> bool:
    """Whether another file may use what this one has parsed."""
    stem = posixpath.splitext(posixpath.basename(source.path))[0]
    return any(i.split(".")[-1] == stem or i.startswith(stem + ".") for s in program.sources for i in s.imports)


def _given(program: Program, source: PythonSource, idiom: Idiom) -> Flag | None:
    """The flag of the launch that gives a value to the option."""
    if program.launch is None or program.main is None or program.main.path != source.path:
        return None
    option = source.option(str(idiom.detail("option")))
    spelled = option.flags if option is not None else ()
    return next((f for f in program.launch.flags if f.name in spelled), None)


def _reads(idiom: Idiom) -> list[str]:
    return str(idiom.detail("read")).split(", ")


def _near(name: str, known: list[str], cutoff: float) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def _ignored(source: PythonSource, idiom: Idiom, flag: Flag, cutoff: float) -> Finding:
    name, read = str(idiom.detail("option")), _reads(idiom)
    near = _near(name, read, cutoff)
    value = "" if flag.value is None else f" {flag.value}"
    message = f"{flag.name}{value} was given, but {source.path} never reads {name} off the command line"
    evidence = [
        Evidence("given and never read", name if flag.value is None else flag.value, at=flag.at),
        Evidence("options declared", int(idiom.detail("declared")), at=idiom.source),
        Evidence("options read", len(read)),
    ]
    if near is not None:
        message += f"; it reads {near}"
        evidence.append(Evidence("nearest that is read", near, cutoff))
    return Finding(
        message,
        at=flag.at,
        evidence=tuple(evidence),
        fix=Fix.show(f"use {name} in the program, or remove {flag.name}"),
    )


def _replaced(source: PythonSource, given: list[tuple[Idiom, Flag]]) -> Finding:
    """Options that the command line gave and that are read off a second, fixed list of arguments instead.

    Where every value given is the declared default, nothing was lost yet: that is worth no warning.
    """
    names = [str(idiom.detail("option")) for idiom, _ in given]
    lost = [
        name
        for name, (_, flag) in zip(names, given, strict=True)
        if (option := source.option(name)) is None or not _same(option.default, flag.value)
    ]
    several = len(given) > 1
    spelled = ", ".join(f"{flag.name} {flag.value}" if flag.value is not None else flag.name for _, flag in given)
    lines = sorted({str(idiom.also[0].line) for idiom, _ in given}, key=int)
    where = f"line{'s' if len(lines) > 1 else ''} {', '.join(lines)}"
    state = "" if lost else "; all of them are the defaults" if several else "; it is the default"
    return Finding(
        f"{spelled} {'were' if several else 'was'} given, but {source.path} reads {'these' if several else 'it'} from "
        f"a fixed list of arguments ({where}), not off the command line{state}",
        at=given[0][1].at,
        evidence=(
            *(Evidence(f"{name} given", flag.value, at=flag.at) for name, (_, flag) in zip(names, given, strict=True)),
            Evidence("options given and not read", len(given), 0),
            *(
                Evidence(f"{name} read at line", i.also[0].line, at=i.also[0])
                for name, (i, _) in zip(names, given, strict=True)
            ),
            Evidence("values other than the default", len(lost)),
        ),
        severity=None if lost else Severity.INFO,
        fix=Fix.show(f"read {', '.join(lost or names)} off the command line"),
    )


def _same(default: object, given: str | None) -> bool:
    """Whether a flag's text says what the default is."""
    if given is None or default is None:
        return False
    try:
        return float(given) == float(str(default))
    except ValueError:
        return given == str(default)


def _leftover(source: PythonSource, idle: list[Idiom]) -> Finding:
    names = [str(i.detail("option")) for i in idle]
    several = "options are" if len(names) > 1 else "option is"
    return Finding(
        f"{len(names)} {several} declared and never read by {source.path}: {', '.join(names)}",
        at=idle[0].source,
        evidence=(
            Evidence("options never read", len(names), 0, idle[0].source),
            Evidence("options declared", int(idle[0].detail("declared"))),
            *(Evidence("never read", n, at=i.source) for n, i in zip(names, idle, strict=True)),
        ),
        severity=Severity.INFO,
        fix=Fix.show(f"use {' and '.join(names)} in the program, or remove {'them' if len(names) > 1 else 'it'}"),
    )


def _keys(program: Program, source: PythonSource, idiom: Idiom, settings: Settings, cutoff: float) -> Iterator[Finding]:
    """Keys at the top of a configuration file that no source names anywhere."""
    read, path = _reads(idiom), posixpath.normpath(str(idiom.detail("path")))
    others = frozenset().union(*(s.names for s in program.sources))
    values = [
        v for v in settings
        if v.role is Role.FILE and not v.record and v.source.key
        and (v.source.path == path or v.source.path.endswith("/" + path))
    ]  # fmt: skip
    for value in values:
        key = value.source.key or ""
        if any(c in key for c in "./[") or key in read or key in others:
            continue
        near = _near(key, [r for r in read if r not in {v.source.key for v in values}], cutoff)
        yield Finding(
            f"{key} of {value.source.path} was never read by {source.path}"
            + (f", which reads {near}" if near is not None else ""),
            at=value.source,
            evidence=(
                Evidence("key never read", key, at=value.source),
                Evidence("keys read", len(read), at=idiom.source),
                *([Evidence("nearest that is read", near, cutoff)] if near is not None else []),
            ),
            fix=Fix.show(f"use {key} in the program, or remove it from {value.source.path}"),
        )
