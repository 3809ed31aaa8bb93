"""Files of every format that mldiag edits, drawn at random, and what an edit of one must keep.

`check(syntax, rng)` draws a file, one of its settings and a value, edits, and holds the result against a parser that is
not mldiag's own. Hypothesis draws the seeds in the tests, a count in `benchmarks/editors.py`.
"""

from __future__ import annotations

import ast
import configparser
import copy
import io
import itertools
import json
import math
import re
import shlex
import subprocess
import tomllib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import yaml

from mldiag.artifacts import Artifact, Launch, PythonSource, Role, Scalar, SettingValue
from mldiag.editors import add_flag, add_keyword, add_setting, add_variable, edit_setting
from mldiag.files import File, Folder
from mldiag.findings import Edit
from mldiag.fixes import apply_edits
from mldiag.readers.argfile import argfile
from mldiag.readers.env_config import env_config
from mldiag.readers.ini_config import ini_config
from mldiag.readers.json_config import json_config
from mldiag.readers.python_source import python_source
from mldiag.readers.shell import shell
from mldiag.readers.toml_config import toml_config
from mldiag.readers.yaml_config import yaml_config

NEW = "zz_added"
"""The name of what is inserted; no drawn file has it."""


class Wrong(AssertionError):
    """An edit did something else than it should."""


class Drawn(NamedTuple):
    """A file before and after an edit.

    `what` is "replaced", "inserted" or "declined"; of the last there is no edit, and `after` is `before`.
    """

    what: str
    before: bytes
    after: bytes
    encoding: str
    edit: Edit | None = None
    name: str = ""
    value: Scalar = None


class Format(NamedTuple):
    """How files of a format are drawn, read by mldiag, and parsed by another."""

    name: str
    draw: Callable[[Random], str]
    read: Callable[[File], Iterator[Artifact]]
    parse: Callable[[str], Any]
    encodings: tuple[str, ...] = ("utf-8",) * 8 + ("utf-8-sig", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1")


# Parts of files

WORDS = ("adam", "adamw", "cosine", "train", "data/train.bin", "gpt2", "bf16", "sgd", "model-a", "x")
ODD = (
    "a b",
    "it's",
    "50%",
    "a#b",
    "a # b",
    "é",
    "日本",
    "a: b",
    "{x}",
    "[1]",
    "- a",
    "true",
    "1e3",
    "null",
    "",
    " a ",
    '"q"',
)
COMMENTS = ("note", "lr: 3", "é ß", "a = 1", "[x]", '"', "it's", "日本", "--lr 3")


def names(rng: Random, count: int, upper: bool = False) -> list[str]:
    """Different keys."""
    stems = ["lr", "epochs", "seq_len", "batch", "stride", "width", "depth", "seed", "clip", "decay", "warmup", "data"]
    rng.shuffle(stems)
    chosen = [s + rng.choice(("", "_steps", "2", "_x")) for s in stems[:count]]
    return [n.upper() for n in chosen] if upper else chosen


def number(rng: Random) -> str:
    """A number as people write it."""
    value = rng.choice((rng.randrange(-9, 1000), rng.randrange(10**6), rng.random(), 10.0 ** -rng.randrange(12)))
    if isinstance(value, int):
        return str(value)
    style = rng.randrange(5)
    if style == 0:
        return f"{value:.1e}"
    if style == 1:
        return f"{rng.randrange(1, 10)}e-{rng.randrange(1, 9)}"
    if style == 2:
        return f"{rng.randrange(1, 10)}.{rng.randrange(10)}E-{rng.randrange(1, 9):02d}"
    return f"{value:.{rng.randrange(1, 9)}f}"


def text_value(rng: Random) -> str:
    return rng.choice(WORDS) if rng.random() < 0.7 else rng.choice(ODD)


def new_value(rng: Random) -> Scalar:
    """What a fix may write."""
    kind = rng.randrange(12)
    if kind < 4:
        return rng.choice((0, 1, 65, 256, 83306, -3, rng.randrange(10**9), 10**15 + 7))
    if kind < 8:
        return rng.choice(
            (0.1, 3e-4, 0.01, 1.0, 1e-13, 2.5e3, 1e22, 5e-324, -0.5, rng.random(), 10 ** -rng.uniform(0, 9))
        )
    if kind < 9:
        return rng.random() < 0.5
    if kind < 11:
        return text_value(rng)
    return rng.choice((None, math.inf, "\n", "a\\b", "$HOME", "\U0001f600", "\x07"))


def gap(rng: Random, mark: str = "#") -> str:
    """What stands behind a value."""
    if rng.random() < 0.7:
        return " " * (rng.random() < 0.1)
    return " " * rng.choice((1, 2, 2, 5)) + f"{mark} {rng.choice(COMMENTS)}"


def joined(rng: Random, lines: Sequence[str]) -> str:
    end = rng.choice(("\n", "\n", "\n", "\r\n"))
    return end.join(lines) + (end if rng.random() < 0.85 else "")


def fillers(rng: Random, mark: str = "#") -> list[str]:
    """Blank lines and comments."""
    return [] if rng.random() < 0.8 else [rng.choice(("", f"{mark} {rng.choice(COMMENTS)}"))]


# YAML


def draw_yaml(rng: Random) -> str:
    lines = ["---"] if rng.random() < 0.1 else []
    fresh = itertools.count()
    lines += yaml_block(rng, 0, rng.choice((2, 2, 4)), [], fresh)
    if rng.random() < 0.05:
        lines += ["---", *yaml_block(rng, 0, 2, [], fresh)]
    return joined(rng, lines)


def yaml_scalar(rng: Random) -> str:
    kind = rng.randrange(10)
    if kind < 5:
        return number(rng)
    if kind == 5:
        return rng.choice(("true", "False", "yes", "Off", "null", "~", ".inf", "1_000", "0x1f", "1:30", "2001-01-01"))
    if kind == 6:
        return "'" + text_value(rng).replace("'", "''") + "'"
    if kind == 7:
        return json.dumps(text_value(rng), ensure_ascii=rng.random() < 0.5)
    if kind == 8:
        return (
            f"{rng.choice(chr(34) + chr(39))}".join(("", number(rng), "")) if rng.random() < 0.3 else rng.choice(WORDS)
        )
    return rng.choice(WORDS)


def yaml_flow(rng: Random, depth: int) -> str:
    if rng.random() < 0.5:
        return "[" + ", ".join(yaml_scalar(rng) for _ in range(rng.randrange(4))) + "]"
    space = rng.choice(("", " "))
    inner = [f"{n}: {yaml_flow(rng, depth + 1) if depth < 2 and rng.random() < 0.2 else yaml_scalar(rng)}"
             for n in names(rng, rng.randrange(1, 4))]  # fmt: skip
    return "{" + space + ", ".join(inner) + space + "}"


def yaml_block(rng: Random, depth: int, step: int, anchors: list[str], fresh: Iterator[int]) -> list[str]:
    lines: list[str] = []
    indent = " " * (step * depth)
    for name in names(rng, rng.randrange(1, 5)):
        lines += [indent + f if f else f for f in fillers(rng)]
        key = f'"{name}"' if rng.random() < 0.05 else name
        head = f"{indent}{key}:"
        kind = rng.random()
        if kind < 0.18 and depth < 3:
            anchor = ""
            if rng.random() < 0.3:
                anchors.append(f"a{next(fresh)}")
                anchor = f" &{anchors[-1]}"
            own = anchors[-1:] if anchor else []
            lines.append(head + anchor + gap(rng))
            if anchors and rng.random() < 0.3 and [*anchors] != own:
                known = [a for a in anchors if a not in own]
                lines.append(f"{indent}{' ' * step}<<: *{rng.choice(known)}")
            # What is anchored within cannot be named before it ends.
            lines += yaml_block(rng, depth + 1, step, anchors if not own else [], fresh)
        elif kind < 0.24:
            lines.append(head + gap(rng))
            lines += [f"{indent}  - {yaml_scalar(rng)}{gap(rng)}" for _ in range(rng.randrange(1, 4))]
        elif kind < 0.28:
            lines += [f"{head} {rng.choice('|>')}", f"{indent}{' ' * step}lr: 3", f"{indent}{' ' * step}# {name}"]
        elif kind < 0.32:
            lines += [f"{head} one", f"{indent}{' ' * step}two"]
        elif kind < 0.35:
            lines += [f"{head}{gap(rng)}", f"{indent}{' ' * step}{yaml_scalar(rng)}{gap(rng)}"]
        elif kind < 0.45:
            lines.append(f"{head} {yaml_flow(rng, 0)}{gap(rng)}")
        elif kind < 0.48:
            lines += [f"{head} {{a1: {number(rng)}, # one", f"{indent}{' ' * step}b1: {number(rng)}}}"]
        elif kind < 0.51:
            lines.append(f"{head} {rng.choice(('!!float 3', '!!str 4', f'&z{next(fresh)} 0.5'))}{gap(rng)}")
        elif kind < 0.54:
            lines.append(head + gap(rng))
        else:
            lines.append(f"{head}{' ' * rng.choice((1, 1, 1, 3))}{yaml_scalar(rng)}{gap(rng)}")
    return lines


def parse_yaml(text: str) -> Any:
    return list(yaml.load_all(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


# JSON


def json_value(rng: Random, depth: int, pad: str, step: str, colon: str) -> str:
    kind = rng.random()
    if depth < 3 and kind < 0.2:
        return json_object(rng, depth, pad, step, colon)
    if kind < 0.28:
        return "[" + ", ".join(number(rng) for _ in range(rng.randrange(4))) + "]"
    if kind < 0.7:
        return number(rng)
    if kind < 0.8:
        return rng.choice(("true", "false", "null"))
    written = text_value(rng) if rng.random() < 0.8 else number(rng)
    return json.dumps(written, ensure_ascii=rng.random() < 0.5)


def json_object(rng: Random, depth: int, pad: str, step: str, colon: str) -> str:
    inner = pad + step
    style = rng.random()
    pairs = [f'{json.dumps(n)}{colon}{json_value(rng, depth + 1, inner, step, colon)}'
             for n in names(rng, rng.randrange(1, 5))]  # fmt: skip
    if style < 0.25:
        return "{" + ("," if colon == ":" else ", ").join(pairs) + "}"
    return "{\n" + inner + f",\n{inner}".join(pairs) + f"\n{pad}" + "}"


def draw_json(rng: Random) -> str:
    text = json_object(rng, 0, "", rng.choice(("  ", "    ", "\t", "")), rng.choice((": ", ": ", ":", " : ")))
    return joined(rng, text.split("\n"))


# TOML


def toml_scalar(rng: Random) -> str:
    kind = rng.randrange(12)
    if kind < 6:
        return number(rng)
    if kind == 6:
        return rng.choice(("true", "false", "inf", "1_000", "0xff", "2001-01-01", "2001-01-01 10:00:00", "+5"))
    written = text_value(rng)
    if kind == 7 and "'" not in written:
        return f"'{written}'"
    if kind == 8:
        return '"""' + rng.choice(("one line", "lr = 3\nx = 4", 'a "quoted" word')) + '"""'
    if kind == 9:
        return (
            "["
            + rng.choice((", ", ",\n  ")).join(number(rng) for _ in range(rng.randrange(4)))
            + rng.choice(("]", " ]"))
        )
    return json.dumps(written, ensure_ascii=rng.random() < 0.5).replace("\\/", "/")


def toml_pairs(rng: Random, keys: Sequence[str]) -> list[str]:
    lines: list[str] = []
    for name in keys:
        lines += fillers(rng)
        equals = rng.choice((" = ", " = ", "=", "  =  "))
        key = f'"{name}"' if rng.random() < 0.05 else f"{name}.part" if rng.random() < 0.05 else name
        indent = rng.choice(("", "", "", "  "))
        if rng.random() < 0.1:
            inner = ", ".join(f"{n} = {number(rng)}" for n in names(rng, rng.randrange(1, 3)))
            lines.append(f"{indent}{key}{equals}{{ {inner} }}{gap(rng)}")
        else:
            lines += f"{indent}{key}{equals}{toml_scalar(rng)}{gap(rng)}".split("\n")
    return lines


def draw_toml(rng: Random) -> str:
    lines = toml_pairs(rng, names(rng, rng.randrange(4)))
    for number_, table in enumerate(
        rng.sample(("model", "train", "optim.adam", "a . b", '"odd one"'), rng.randrange(1, 4))
    ):
        many = rng.random() < 0.15
        lines += [f"[[{table}]]" if many else f"[{table}]{gap(rng)}", *toml_pairs(rng, names(rng, rng.randrange(1, 5)))]
        if many:
            lines += [f"[[{table}]]", "lr = 1", f"[{table}.inner{number_}]", "lr = 2"]
    return joined(rng, lines)


# INI


def draw_ini(rng: Random) -> str:
    lines: list[str] = []
    for section in rng.sample(("DEFAULT", "model", "train", "my section", "a.b"), rng.randrange(1, 4)):
        lines += [*fillers(rng, rng.choice("#;")), f"[{section}]"]
        for name in names(rng, rng.randrange(1, 5)):
            lines += [f for f in fillers(rng, rng.choice("#;")) if f]
            sign = rng.choice((" = ", " = ", "=", ": ", " : ", "   = "))
            kind = rng.random()
            value = number(rng) if kind < 0.6 else rng.choice(("yes", "off", "True", "none", *WORDS))
            if kind > 0.9:
                value = f'"{value}"'
            lines.append(f"{name}{sign}{value}{gap(rng, rng.choice('#;'))}")
            if rng.random() < 0.05:
                lines.append("    more")
    return joined(rng, lines)


def parse_ini(text: str) -> Any:
    parser = configparser.RawConfigParser(inline_comment_prefixes=("#", ";"), strict=False, default_section="no such")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_file(io.StringIO(text.replace("\r\n", "\n")))
    found = {s: dict(parser.items(s)) for s in parser.sections()}
    return {**found.pop("DEFAULT", {}), **found}


# Environment variables


def draw_env(rng: Random) -> str:
    lines: list[str] = []
    for name in names(rng, rng.randrange(1, 7), upper=True):
        lines += fillers(rng)
        value = number(rng) if rng.random() < 0.6 else rng.choice(WORDS)
        kind = rng.random()
        if kind < 0.2:
            value = f'"{value}"'
        elif kind < 0.3:
            value = f"'{value if rng.random() < 0.5 else 'a b # c'}'"
        elif kind < 0.34:
            value = '"one\ntwo"'
        elif kind < 0.37:
            value = ""
        lines += f"{rng.choice(('', '', 'export '))}{name}={value}{gap(rng)}".split("\n")
    return joined(rng, lines)


def parse_env(text: str) -> Any:
    """As a shell reads it, which is what `set -a; . .env` does."""
    found = {}
    for part in re.split(r"\n(?=(?:export )?[A-Z])", text.replace("\r\n", "\n")):
        words = shlex.split(part, comments=True)
        for word in words:
            if word != "export":
                name, _, value = word.partition("=")
                found[name] = value
    return found


# Arguments


def draw_arguments(rng: Random) -> str:
    lines: list[str] = []
    for name in names(rng, rng.randrange(1, 7)):
        value = number(rng) if rng.random() < 0.6 else rng.choice(WORDS)
        value = f'"{value}"' if rng.random() < 0.1 else value
        kind = rng.random()
        if kind < 0.4:
            lines.append(f"--{name}={value}")
        elif kind < 0.7:
            lines.append(f"--{name} {value}")
        elif kind < 0.85:
            lines += [f"--{name}", value]
        elif kind < 0.93:
            lines.append(f"--{name}")
        else:
            lines += [f"--{name}", "1", "2"]
        lines += fillers(rng)
    return joined(rng, lines)


def parse_arguments(text: str) -> Any:
    found: dict[str, Any] = {}
    last = ""
    for word in (w for line in text.splitlines() for w in shlex.split(line, comments=True)):
        if re.match(r"--?[A-Za-z]", word):
            last, equals, value = word.lstrip("-").partition("=")
            found[last] = [value] if equals else []
        else:
            found[last].append(word)
    return {k: v[0] if len(v) == 1 else v for k, v in found.items()}


# Python


def draw_python(rng: Random) -> str:
    """A program: constants, an argument parser, a dataclass, calls."""
    lines = ["import argparse", "from dataclasses import dataclass", f"# {rng.choice(COMMENTS)}"]
    lines += [f"{name} = {python_literal(rng)}{gap(rng)}" for name in names(rng, rng.randrange(4), upper=True)]
    lines += ["def main():", "    p = argparse.ArgumentParser()"]
    for name in names(rng, rng.randrange(1, 5)):
        lines += [*(f"    {f}" if f else f for f in fillers(rng)),
                  f"    p.add_argument('--{name}', default={python_literal(rng)})" + gap(rng)]  # fmt: skip
    lines += ["    a = p.parse_args()", *python_calls(rng), "@dataclass", "class Config:"]
    lines += [f"    {name}: float = {python_literal(rng)}{gap(rng)}" for name in names(rng, rng.randrange(1, 4))]
    return joined(rng, lines)


def python_literal(rng: Random) -> str:
    kind = rng.randrange(8)
    if kind < 5:
        return number(rng)
    if kind == 5:
        return rng.choice(("True", "2**8", "-1", "10_000", "(1e-3)", "b''", "(0.9, 0.95)"))
    return repr(text_value(rng)) if rng.random() < 0.7 else f'"{rng.choice(WORDS)}"'


def python_calls(rng: Random) -> list[str]:
    lines = []
    for function in rng.sample(("torch.optim.AdamW", "fit", "model.train", "Trainer"), rng.randrange(1, 4)):
        words = [
            rng.choice(("x", "(x)", "*x", "f(1)", "[1, 2]", '"é"', "x if y else z")) for _ in range(rng.randrange(3))
        ]
        words += [f"{n}={rng.choice((python_literal(rng), '(1)', 'f(x)', 'lambda: (1, 2)'))}"
                  for n in names(rng, rng.randrange(3))]  # fmt: skip
        if rng.random() < 0.1:
            words.append("**kw")
        layout_ = rng.randrange(4)
        if layout_ == 0 and words:
            body = [f"        {w},{gap(rng)}" for w in words]
            if rng.random() < 0.4:
                body[-1] = f"        {words[-1]}{gap(rng)}"
            lines += [f"    {function}(", *body, "    )"]
        elif layout_ == 1 and words:
            lines += f"    {function}({f',{chr(10)}        '.join(words)}){gap(rng)}".split("\n")
        elif layout_ == 2 and words:
            lines.append(f"    {function}({', '.join(words)},)")
        else:
            lines.append(f"    o = {function}({', '.join(words)}){gap(rng)}")
    return lines


def draw_python_config(rng: Random) -> str:
    """A configuration of assignments, flat or nested."""
    lines = []
    for name in names(rng, rng.randrange(2, 7)):
        lines += fillers(rng)
        kind = rng.random()
        inner = names(rng, rng.randrange(1, 4))
        if kind < 0.15:
            lines.append(f"{name} = dict({', '.join(f'{n}={python_literal(rng)}' for n in inner)}){gap(rng)}")
        elif kind < 0.3:
            quote = rng.choice("'\"")
            body = [f"    {quote}{n}{quote}: {python_literal(rng)},{gap(rng)}" for n in inner]
            if rng.random() < 0.3:
                body[-1] = f"    {quote}{inner[-1]}{quote}: {python_literal(rng)}"
            lines += [f"{name} = {{", *body, "}"]
        else:
            lines.append(f"{name} = {python_literal(rng)}{gap(rng)}")
    return joined(rng, lines)


# Shell


def draw_shell(rng: Random) -> str:
    """A script with one launch; its values are numbers and words, plain, in quotes or in variables."""
    lines = ["#!/bin/bash", *fillers(rng)]
    keys = names(rng, rng.randrange(1, 7))
    words = []
    for name in keys:
        value = number(rng) if rng.random() < 0.7 else rng.choice(("adam", "a b", "it is", "x"))
        quote = rng.choice(("", "", '"', "'")) if " " not in value else rng.choice("\"'")
        written = f"{quote}{value}{quote}"
        join = rng.choice((" ", "="))
        if rng.random() < 0.2:
            lines.append(f"{name.upper()}={written}{gap(rng)}")
            words.append(f'--{name}{join}"${name.upper()}"')
        else:
            words.append(f"--{name}{join}{written}")
    if rng.random() < 0.2:
        words.append("--flag")
    start = rng.choice(("python train.py", "CUDA_X=0 python train.py", "python -u train.py"))
    if rng.random() < 0.5:
        lines.append(f"{start} {' '.join(words)}" + rng.choice(("", " # end", " > log.txt")))
    else:
        lines += [f"{start} \\", *(f"  {w}{' ' * rng.choice((1, 1, 3))}\\" for w in words[:-1]), f"  {words[-1]}"]
    return joined(rng, [*lines, *fillers(rng)])


FORMATS = {
    "yaml": Format("config.yaml", draw_yaml, yaml_config, parse_yaml),
    "json": Format("config.json", draw_json, json_config, json.loads),
    "toml": Format("config.toml", draw_toml, toml_config, lambda text: tomllib.loads(text.replace("\r\n", "\n"))),
    "ini": Format("config.ini", draw_ini, ini_config, parse_ini),
    "env": Format(".env", draw_env, env_config, parse_env),
    "argfile": Format("args.txt", draw_arguments, argfile, parse_arguments),
    "python": Format("train.py", draw_python, python_source, ast.parse, ("utf-8", "utf-8", "utf-8-sig")),
    "python-config": Format("config.py", draw_python_config, python_source, ast.parse, ("utf-8", "utf-8", "utf-8-sig")),
    "shell": Format("run.sh", draw_shell, shell, str, ("utf-8",)),
}


def drawn(syntax: str, rng: Random) -> Drawn:
    """A file of a format and an edit of it; files without anything to edit are drawn again."""
    format_ = FORMATS[syntax]
    while True:
        text = format_.draw(rng)
        encoding = rng.choice(format_.encodings)
        try:
            content = text.encode(encoding)
        except UnicodeEncodeError:
            continue
        found = list(format_.read(File(Path("nowhere"), format_.name, content, beside=(format_.name,))))
        done = _edited(format_, rng, content, encoding, found)
        if done is not None:
            return done


def _edited(format_: Format, rng: Random, content: bytes, encoding: str, found: list[Artifact]) -> Drawn | None:
    value = new_value(rng)
    settings = [f for f in found if isinstance(f, SettingValue)]
    inserted = rng.random() < 0.3
    edit: Edit | None
    name = NEW
    if source := next((f for f in found if isinstance(f, PythonSource)), None):
        if inserted:
            if not source.calls:
                return None
            call = rng.choice(source.calls)
            name, edit = call.name, add_keyword(call, NEW, value)
        else:
            options = [o for o in source.options if o.editable]
            if not options:
                return None
            option = rng.choice(options)
            default = SettingValue(option.name, option.default, Role.DEFAULT, option.source, "python")
            name, edit = option.name, edit_setting(default, value)
    elif launch := next((f for f in found if isinstance(f, Launch)), None):
        value = value if isinstance(value, int | float | str) and not isinstance(value, bool) and value == value else 3
        value = value if not isinstance(value, str) or (value.isprintable() and not value.startswith("-")) else "word"
        if inserted:
            edit = add_flag(launch, f"--{NEW}", value) if rng.random() < 0.7 else add_variable(launch, NEW, value)
        else:
            flags = [f for f in launch.flags if f.value is not None and f.source.start is not None]
            if not flags:
                return None
            flag = rng.choice(flags)
            name = flag.name
            edit = edit_setting(SettingValue(name, flag.value, Role.FLAG, flag.source, "shell"), value)
    elif inserted:
        beside = [s for s in settings if s.site is not None and s.syntax is not None]
        if not beside:
            return None
        sibling = rng.choice(beside)
        name = ".".join([*sibling.name.split(".")[:-1], NEW])
        edit = add_setting(sibling, NEW, value)
    else:
        editable = [s for s in settings if s.syntax is not None]
        if not editable:
            return None
        setting = rng.choice(editable)
        name, edit = setting.name, edit_setting(setting, value)
    if edit is None:
        return Drawn("declined", content, content, encoding)
    folder = Folder(Path("nowhere"), (), {format_.name: content})
    after = apply_edits([edit], folder)[format_.name]
    return Drawn("inserted" if edit.start == edit.end else "replaced", content, after, encoding, edit, name, value)


# What must hold


def check(syntax: str, rng: Random) -> Drawn:
    """Draws a file and an edit, and checks all but what a shell makes of it.

    Raises:
        Wrong: says what does not hold.
    """
    done = drawn(syntax, rng)
    if done.edit is not None:
        check_bytes(done)
        if syntax in ("python", "python-config"):
            check_source(done)
        elif syntax != "shell":
            check_tree(syntax, done)
    return done


def check_bytes(done: Drawn) -> None:
    """Only the span changed, and in it nothing but the value and the spaces that align what follows."""
    edit = done.edit
    assert edit is not None
    before, after = done.before, done.after
    if (
        before[: edit.start] != after[: edit.start]
        or before[edit.end :] != after[len(after) - (len(before) - edit.end) :]
    ):
        raise Wrong(f"bytes outside of the span changed: {edit}")
    if done.what == "replaced":
        for mark in (b"\n", b"\r", b"#"):
            value = str(done.value).encode(errors="replace")
            if mark not in value and before.count(mark) != after.count(mark) and mark not in edit.old.encode():
                raise Wrong(f"line ends or comments changed: {edit}")


def check_tree(syntax: str, done: Drawn) -> None:
    """Another parser reads the same tree but for the value."""
    parse = FORMATS[syntax].parse
    assert done.edit is not None
    if done.edit.old == done.edit.new:  # it had the value already
        return
    before, after = (parse(content.decode(done.encoding)) for content in (done.before, done.after))
    documents = (before, after) if syntax == "yaml" else ([before], [after])
    if len(documents[0]) != len(documents[1]):
        raise Wrong(f"{len(documents[0])} documents became {len(documents[1])}: {done.edit}")
    changed = [(old, new) for old, new in zip(*documents, strict=True) if not same(old, new)]
    if not changed and any(
        means(_at(d, p), _at(d, p), done.value, syntax)
        for d in documents[0]
        for p in _paths(syntax, done.name)
        if _has(d, p)
    ):
        return  # the same value in other words
    if len(changed) != 1:
        raise Wrong(f"{len(changed)} documents changed: {done.edit}")
    old, new = changed[0]
    for path in _paths(syntax, done.name):
        if not _has(new, path):
            continue
        if done.what == "inserted":
            trimmed = copy.deepcopy(new)
            found = _at(trimmed, path[:-1]).pop(path[-1])
            if same(trimmed, old) and not _has(old, path) and means(found, "", done.value, syntax):
                return
        else:
            wanted, found = copy.deepcopy(old), _at(new, path)
            former = _at(old, path) if _has(old, path) else None
            _put(wanted, path, found)
            if same(wanted, new) and means(found, former, done.value, syntax):
                return
    raise Wrong(f"the tree differs in more than {done.name}, or says another value: {done.edit}")


def check_source(done: Drawn) -> None:
    """The syntax tree is the same but for one literal, or for one more keyword, key or assignment."""
    before, after = (ast.parse(content.decode(done.encoding)) for content in (done.before, done.after))
    if done.what == "inserted":
        removed = _without(after)
        if removed != 1:
            raise Wrong(f"{removed} things were inserted: {done.edit}")
        if ast.dump(before) != ast.dump(after):
            raise Wrong(f"the tree differs in more than what was inserted: {done.edit}")
        return
    differing = list(_differences(before, after))
    if not differing and ast.dump(before) == ast.dump(after):
        return
    if len(differing) != 1:
        raise Wrong(f"{len(differing)} nodes differ: {done.edit}")
    old, new = differing[0]
    found = eval(compile(ast.Expression(new), "", "eval"), {"float": float})
    former = ast.literal_eval(old) if isinstance(old, ast.Constant) else None
    if not means(found, former, done.value):
        raise Wrong(f"the literal is {found!r}: {done.edit}")


def _without(tree: ast.Module) -> int:
    """Takes out what was inserted; how many there were."""
    count = 0
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            kept = [k for k in node.keywords if k.arg != NEW]
            count += len(node.keywords) - len(kept)
            node.keywords = kept
        elif isinstance(node, ast.Dict):
            kept_pairs = [(k, v) for k, v in zip(node.keys, node.values, strict=True)
                          if not (isinstance(k, ast.Constant) and k.value == NEW)]  # fmt: skip
            count += len(node.keys) - len(kept_pairs)
            node.keys, node.values = [k for k, _ in kept_pairs], [v for _, v in kept_pairs]
    body = [s for s in tree.body if not (isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == NEW)]
    count += len(tree.body) - len(body)
    tree.body = body
    return count


def _differences(old: ast.AST, new: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """The smallest expressions in which two trees differ."""
    if ast.dump(old) == ast.dump(new):
        return
    literal = isinstance(new, ast.Constant) or (isinstance(new, ast.UnaryOp) and isinstance(new.operand, ast.Constant))
    infinite = isinstance(new, ast.Call) and isinstance(new.func, ast.Name) and new.func.id == "float"
    if isinstance(old, ast.expr) and isinstance(new, ast.expr) and (literal or infinite or type(old) is not type(new)):
        yield old, new
        return
    pairs = list(zip(ast.iter_child_nodes(old), ast.iter_child_nodes(new), strict=False))
    if type(old) is not type(new) or len(pairs) != len(list(ast.iter_child_nodes(new))):
        raise Wrong(f"{ast.dump(old)} became {ast.dump(new)}")
    for mine, other in pairs:
        yield from _differences(mine, other)


def means(found: Any, former: Any, value: Scalar, syntax: str = "") -> bool:
    """Whether what another parser found is the value; text that spells it counts where the old one was text too."""
    if isinstance(found, str) and not isinstance(value, str):
        texts = syntax in ("ini", "env", "argfile")
        return (texts or isinstance(former, str)) and spelled(found, value)
    if isinstance(found, str) and syntax == "ini":
        found = found[1:-1] if len(found) > 1 and found[0] == found[-1] and found[0] in "\"'" else found
    return same(found, value)


def spelled(text: str, value: Scalar) -> bool:
    """Whether a text spells a number or a truth value."""
    text = text.strip("\"'")
    if isinstance(value, bool):
        return text.lower() in (("true", "yes", "on", "1") if value else ("false", "no", "off", "0"))
    try:
        return value is not None and float(text) == float(value)
    except ValueError:
        return False


def same(one: Any, other: Any) -> bool:
    """Equal, with truth values apart from numbers and NaN equal to itself."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) is not isinstance(other, bool):
        return False
    return bool(one == other) or (one != one and other != other)


def _paths(syntax: str, name: str) -> list[tuple[str, ...]]:
    """The ways in which a dotted name may lead through a tree."""
    parts = name.split(".")
    found: list[tuple[str, ...]] = [tuple(parts)]
    if syntax == "ini":
        found = [(".".join(parts[:n]), ".".join(parts[n:])) for n in range(1, len(parts))] + [(name,)]
    return found


def _has(tree: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return False
        tree = tree[key]
    return True


def _at(tree: Any, path: Sequence[str]) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def _put(tree: Any, path: Sequence[str], value: Any) -> None:
    _at(tree, path[:-1])[path[-1]] = value


CALLED = """
python() { local w; for w in "$@"; do printf '%s\\x1f' "$w"; done; }
for file in "$@"; do
  IFS= read -r -d '' text < "$file"
  eval "parsed() { :
$text
}" 2>/dev/null || printf 'broken\\x1f'
  unset zz_added; . "$file" >&1 2>/dev/null; printf '\\x1e'
done
"""


def called(scripts: Sequence[bytes], folder: Path) -> list[list[str]]:
    """The words that each script calls Python with, as Bash reads it; line ends of Windows are taken off."""
    paths = []
    for number_, script in enumerate(scripts):
        paths.append(folder / f"{number_}.sh")
        # The output of a redirected call would be lost with its words.
        paths[-1].write_bytes(script.replace(b"\r\n", b"\n").replace(b" > log.txt", b""))
    words = ["bash", "--norc", "-c", CALLED, "bash", *map(str, paths)]
    done = subprocess.run(words, capture_output=True, check=True)
    return [part.split("\x1f")[:-1] for part in done.stdout.decode().split("\x1e")[:-1]]


def check_words(done: Drawn, before: Sequence[str], after: Sequence[str]) -> None:
    """A shell hands on the same words but for the value, or with one more flag."""
    if "broken" in after:
        raise Wrong(f"bash -n refuses the edited script: {done.edit}")
    text = None if done.value is None else str(done.value)

    def fits(word: str) -> bool:
        return word == text or (not isinstance(done.value, str) and spelled(word, done.value))

    if done.what == "inserted":
        added = [*after[len(before) :]]
        flag = len(added) == 2 and added[0] == f"--{NEW}" and fits(added[1])
        flag |= len(added) == 1 and added[0].startswith(f"--{NEW}=") and fits(added[0].partition("=")[2])
        if list(after[: len(before)]) != list(before) or not (flag or not added):
            raise Wrong(f"{before} became {after}: {done.edit}")
        return
    differing = [(o, n) for o, n in zip(before, after, strict=False) if o != n]
    if len(before) != len(after) or len(differing) > 1:
        raise Wrong(f"{before} became {after}: {done.edit}")
    for _, new in differing:
        if not (fits(new) or fits(new.partition("=")[2])):
            raise Wrong(f"the shell reads {new!r}: {done.edit}")
