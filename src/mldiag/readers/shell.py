"""Reads shell scripts: each command that starts a Python program, with its flags and the places of their values."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mldiag.artifacts import Flag, Launch, SettingValue, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.patterns import lazily
from mldiag.readers import reader
from mldiag.readers._configs.batch_system import directives
from mldiag.readers._configs.shell_words import Command, Script, Word
from mldiag.secrets import is_secret, masked
from mldiag.spans import Spans

if TYPE_CHECKING:
    from tree_sitter import Node

SIZE_LIMIT = 2**20
"""Largest script in bytes; launch scripts are a few kilobytes, and a full parse costs about 1 s per megabyte."""

_PYTHON = lazily(r"python(\d+(\.\d+)?)?(\.exe)?")
_LAUNCHERS = frozenset({"torchrun", "accelerate", "deepspeed", "composer"})
_LAUNCH_MODULES = frozenset({
    "torch.distributed.run", "torch.distributed.launch", "accelerate.commands.launch", "deepspeed.launcher.runner",
    "paddle.distributed.launch",
})  # fmt: skip
# Commands that a package installs and that train. Of those with sub-commands, the words that train.
_TRAINERS: Mapping[str, frozenset[str]] = {
    "fairseq-train": frozenset(), "fairseq-hydra-train": frozenset(), "onmt_train": frozenset(),
    "sockeye-train": frozenset(), "marian": frozenset(), "t2t-trainer": frozenset(), "opennmt-train": frozenset(),
    "litgpt": frozenset({"pretrain", "finetune", "finetune_full", "finetune_lora", "finetune_adapter"}),
    "axolotl": frozenset({"train"}), "llamafactory-cli": frozenset({"train"}), "yolo": frozenset({"train"}),
    "trl": frozenset({"sft", "dpo", "grpo", "kto", "reward", "rloo"}), "allennlp": frozenset({"train"}),
    "mim": frozenset({"train"}), "autotrain": frozenset({"llm"}), "rllib": frozenset({"train"}),
    "parlai": frozenset({"train_model", "train"}),
}  # fmt: skip
# Modules that run another program under their eyes; the program is the first `.py` behind them.
_RUNNERS = frozenset({
    "pdb", "ipdb", "cProfile", "profile", "trace", "debugpy", "memory_profiler", "scalene", "viztracer", "kernprof",
    "torch.utils.bottleneck",
})  # fmt: skip
# Modules that train nothing, by the first part of their name.
_TOOLS = frozenset({
    "pip", "venv", "ensurepip", "virtualenv", "pytest", "unittest", "http", "json", "build", "compileall", "py_compile",
    "timeit", "site", "zipfile", "tensorboard", "jupyter", "notebook", "IPython", "nltk", "spacy", "platform", "this",
    "twine", "black", "ruff", "mypy", "coverage", "gdown",
})  # fmt: skip
# Commands that run the command behind them, after options, numbers and assignments of their own ...
_PREFIXES = frozenset({
    "time", "nohup", "exec", "sudo", "nice", "stdbuf", "unbuffer", "command", "env", "timeout", "taskset", "numactl",
    "ionice", "chrt", "setsid", "eval", "caffeinate",
})  # fmt: skip
# ... and commands with so many options that the Python behind them is searched for.
_SCHEDULERS = frozenset({
    "srun", "mpirun", "mpiexec", "orterun", "horovodrun", "jsrun", "aprun", "ibrun", "docker", "podman", "singularity",
    "apptainer", "conda", "mamba", "micromamba", "uv", "poetry", "pipenv", "pdm", "rye", "hatch", "xvfb-run", "flock",
    "nsys", "ncu", "bsub", "qsub", "salloc",
})  # fmt: skip
# ... of which these do other things than running programs (`conda install python`) unless they are told to.
_MANAGERS = frozenset({
    "docker", "podman", "conda", "mamba", "micromamba", "uv", "poetry", "pipenv", "pdm", "rye", "hatch",
})  # fmt: skip
# Launcher flags that take no value, so that the program may follow them.
_SWITCHES = frozenset({
    "--standalone", "--use_env", "--use-env", "--no_python", "--no-python", "--run_path", "--run-path", "--multi_gpu",
    "--multi-gpu", "--cpu", "--tpu", "--use_deepspeed", "--use_fsdp", "--use_megatron_lm", "--debug", "--force_multi",
    "--no_local_rank", "--quiet", "-q", "--same_network", "--mps", "-v", "--verbose",
})  # fmt: skip
_NUMBER = lazily(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_ASSIGNED = lazily(r"([A-Za-z_]\w*)=")
_OVERRIDE = lazily(r"(\+{0,2})([A-Za-z_][\w.@/-]*)=")
_CANDIDATES = 20  # openings that are tried as the one that lacks its end
_TOKEN = lazily(
    rb"""
      \\.                                                                  # an escaped character
    | \$\{?\#                                                              # $# and ${#name} open no comment
    | (?<![^\s;&|()])\#[^\n]*                                              # a comment
    | <<<
    | (?P<heredoc> <<-?\s*["']?(?P<word>[A-Za-z_]\w*)["']?[^\n]*\n )
    | (?P<quote>["'])
    """,
    re.DOTALL | re.VERBOSE,
)
_CLOSING = {b'"': re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL), b"'": re.compile(rb"[^']*+'")}
_PREFIX_OPTION = lazily(r"-.*|[A-Za-z_]\w*=.*|[\d.,-]+[smhd]?", re.DOTALL)


@reader("*.sh", "*.bash", "*.slurm", "*.sbatch", "*.pbs", "*.qsub", "*.lsf")
def shell(file: File) -> Iterator[Launch | SettingValue]:
    r"""Shell scripts, parsed and never run.

    One `Launch` for each command that starts a Python program: `python`, `python -m`, `torchrun`, `python -m
    torch.distributed.run`, `accelerate launch`, `deepspeed`, a `.py` file itself, a package's own command that trains
    (`fairseq-train`, `yolo train`, `litgpt pretrain`), also behind `srun`, `nohup`, `env`, `mpirun` and the like, in
    pipelines, functions and blocks. Commands inside `$(...)`, here-documents and `bash -c`
    strings are not read.

    Variables and arrays that the script assigns once, on every path to the command, are put in; the value's place is
    then the assignment. `${NAME:-320}` gives the default where the script does not assign the name. What only the
    running script knows has no value. Several numbers behind a flag are one value of several words; of other words
    only the first is taken where the rest may be the program's own arguments.

    What a job script asks its batch system for (`#SBATCH`, `#PBS`, `#$`, `#BSUB`) are settings under that system's name
    (`slurm.nodes`); a limit of time is `max_seconds`, and GPUs are `devices` as well where a distributed launcher uses
    them.

    Raises:
        ReadError: a quote is never closed, or a part is no shell that is understood; commands before an open quote
            and commands outside the broken part are read all the same.
    """
    if file.size > SIZE_LIMIT:
        raise ReadError(
            f"a script of {file.size / 1e6:,.1f} MB, more than the {SIZE_LIMIT / 1e6:,.0f} MB that are read"
        )
    import tree_sitter

    spans = Spans(file)
    parser = tree_sitter.Parser(tree_sitter.Language(_grammar()))
    # The grammar takes a continuation on the last line for an error; the shell does not.
    root = parser.parse(spans.data + b"\n\n").root_node
    script = Script(root, spans.data)
    references = dict(script.references)
    quote = _open_quote(spans.data) if root.has_error else None
    found = distributed = False
    for command in script.commands:
        if command.node.has_error or (quote is not None and not _ends_before(command.node.end_byte, quote, spans.data)):
            continue
        launch = _launch(command, script, spans, references)
        if launch is not None:
            found = True
            distributed |= launch.launcher not in ("python", "python -m")
            yield launch
    if spans.data.lstrip().startswith(b"#!") or spans.data.startswith(b"#"):
        yield from directives(spans, distributed=distributed)
    if quote is not None:
        raise ReadError("a quote is opened and never closed", line=spans.line_at(quote), partial=found)
    if root.has_error:
        raise _misunderstood(root, spans, found)
    if script.cut:
        raise ReadError("blocks are nested too deeply to be read", partial=found)


def _grammar() -> object:
    """The grammar of Bash, without what its package imports for queries: that alone took a tenth of a small audit."""
    from importlib.machinery import PathFinder
    from importlib.util import find_spec, module_from_spec

    package = find_spec("tree_sitter_bash")
    places = package.submodule_search_locations if package else None
    binding = PathFinder.find_spec("tree_sitter_bash._binding", places) if places else None
    if binding is None or binding.loader is None:
        import tree_sitter_bash

        return tree_sitter_bash.language()
    module = module_from_spec(binding)
    binding.loader.exec_module(module)
    return module.language()


def _launch(command: Command, script: Script, spans: Spans, references: Mapping[str, int]) -> Launch | None:
    words = script.words(command)
    started = _started(words)
    if started is None:
        return None
    before = words[: started.program]
    flags, positionals = _flags(words[started.program + 1 :], spans)
    launcher_flags, _ = _flags([w for w in before if w.known not in started.names], spans)
    # `env NAME=value python ...`, behind whatever else comes first.
    given = {a[1]: w.behind(a.end()) for w in before if w.text is not None and (a := _ASSIGNED.match(w.text))}
    words_set = {**script.environment(command), **given}
    environment = {k: w for k, w in words_set.items() if not is_secret(k, w.text, environment=True)}
    return Launch(
        program=words[started.program].shown,
        launcher=started.launcher,
        flags=flags,
        source=spans.source(command.start, command.end),
        positionals=positionals,
        launcher_flags=launcher_flags,
        environment={k: w.text or "" for k, w in environment.items()},
        environment_at={k: spans.source(*w.span, key=k) for k, w in environment.items()},
        end=spans.source(command.end, command.end).end,
        references=references,
    )


class _Started(Struct, frozen=True):
    """Which word is the program, what starts it, and the words that name what stands before it."""

    launcher: str
    program: int
    names: tuple[str, ...]


def _started(words: Sequence[Word]) -> _Started | None:
    """Finds the Python program of a command, behind whatever runs it."""
    at, searching = 0, False
    names: list[str] = []
    while at < len(words):
        word = words[at].known
        name = posixpath.basename(word)
        if _PYTHON.fullmatch(name) or _is_unknown_python(words, at):
            return _of_python(words, at, (*names, word))
        if name in _LAUNCHERS:
            return _of_launcher(words, at, name, (*names, word))
        if name in _TRAINERS:
            return _of_trainer(words, at, name, (*names, word))
        if words[at].shown.endswith(".py") and not word.startswith("-"):
            return _Started("python", at, tuple(names))
        if name in _SCHEDULERS:
            if name in _MANAGERS and not any(w.known in ("run", "exec") for w in words[at + 1 :]):
                return None
            searching = True
        elif not searching and name not in _PREFIXES:
            return None
        if name in _SCHEDULERS or name in _PREFIXES:
            names.append(word)
        at += 1
        while not searching and at < len(words) and _PREFIX_OPTION.fullmatch(words[at].known):
            at += 1
    return None


def _of_trainer(words: Sequence[Word], at: int, command: str, names: tuple[str, ...]) -> _Started | None:
    """A package's own command, and the sub-command that trains (`yolo detect train`)."""
    wanted = _TRAINERS[command]
    if not wanted:
        return _Started(command, at, names)
    for index in range(at + 1, len(words)):
        if words[index].known in wanted:
            return _Started(command, index, (*names, *(w.known for w in words[at + 1 : index])))
        if words[index].known.startswith("-"):
            return None
    return None


def _is_unknown_python(words: Sequence[Word], at: int) -> bool:
    """`$PYTHON train.py`, where the environment says which Python."""
    return (
        words[at].text is None
        and any("PYTHON" in v.upper() for v in words[at].variables)
        and any(w.shown.endswith(".py") or w.known == "-m" for w in words[at + 1 :])
    )


def _of_python(words: Sequence[Word], at: int, names: tuple[str, ...]) -> _Started | None:
    for index in range(at + 1, len(words)):
        option = words[index].known
        if words[index - 1].known in ("-X", "-W"):
            continue
        if not option.startswith("-"):
            is_setup = posixpath.basename(option) == "setup.py"
            return None if is_setup else _Started("python", index, names)
        if option in ("-", "--version", "--help", "-V", "-h") or re.fullmatch(r"-[A-Za-z]*c.*", option):
            return None
        if re.fullmatch(r"-[A-Za-z]*m", option):
            return _of_module(words, index + 1, (*names, option))
    return None


def _of_module(words: Sequence[Word], at: int, names: tuple[str, ...]) -> _Started | None:
    module = words[at].known if at < len(words) else ""
    if module in _LAUNCH_MODULES:
        return _of_launcher(words, at, f"python -m {module}", (*names, module))
    if module in _RUNNERS:
        program = next((i for i in range(at + 1, len(words)) if words[i].shown.endswith(".py")), None)
        return None if program is None else _Started("python", program, (*names, module))
    if not module or module.split(".")[0] in _TOOLS:
        return None
    return _Started("python -m", at, names)


def _of_launcher(words: Sequence[Word], at: int, launcher: str, names: tuple[str, ...]) -> _Started | None:
    """The program of a distributed launcher: the first `.py`, or what follows `-m`, or the first word of no flag."""
    if launcher == "accelerate":
        if at + 1 >= len(words) or words[at + 1].known != "launch":
            return None
        at, launcher, names = at + 1, "accelerate launch", (*names, "launch")
    index, module = at + 1, False
    while index < len(words):
        word = words[index].known
        if not word.startswith("-"):
            return _Started(f"{launcher} -m" if module else launcher, index, (*names, "-m", "--module"))
        if word in ("-m", "--module"):
            module = True
        elif "=" not in word and word not in _SWITCHES and index + 1 < len(words):
            following = words[index + 1].shown
            index += not following.startswith("-") and not following.endswith(".py")
        index += 1
    return None


def _flags(words: Sequence[Word], spans: Spans) -> tuple[tuple[Flag, ...], tuple[str, ...]]:
    """Flags with their values, and the words that belong to none."""
    flags: list[Flag] = []
    rest: list[Word] = []
    index = 0
    while index < len(words):
        word = words[index]
        index += 1
        override = _OVERRIDE.match(word.known)
        if word.known == "--":
            rest += words[index:]
            break
        if _is_flag(word) and "=" in word.known:
            name = word.known.split("=", 1)[0]
            flags.append(_flag(name, word, [word.behind(len(name) + 1)], spans))
        elif _is_flag(word):
            behind = index
            while behind < len(words) and not _is_flag(words[behind]) and not _OVERRIDE.match(words[behind].known):
                behind += 1
            values = _values(words[index:behind], last=behind == len(words))
            index += len(values)
            flags.append(_flag(word.known, word, values, spans))
        elif override:
            flags.append(_flag(override[2], word, [word.behind(override.end())], spans))
        else:
            rest.append(word)
    return tuple(flags), tuple(masked(w.shown) for w in rest)


def _is_flag(word: Word) -> bool:
    known = word.known
    return len(known) > 1 and known[0] == "-" and not (word.text is not None and _NUMBER.fullmatch(known))


def _values(words: Sequence[Word], *, last: bool) -> Sequence[Word]:
    """Those of the words behind a flag that are its value.

    Numbers belong together. Other words do where another flag follows; at the end of the command they may as well be
    the program's own arguments (`-b 256 /data/imagenet`), and only the first is taken.
    """
    numbers = 0
    while numbers < len(words) and _NUMBER.fullmatch(words[numbers].text or ""):
        numbers += 1
    if numbers:
        return words[:numbers]
    return words[:1] if last else words


def _flag(name: str, word: Word, values: Sequence[Word], spans: Spans) -> Flag:
    key = name.lstrip("-")
    start = word.pieces[0].start
    width = len(name.encode())
    whole = len(word.pieces[0].text or "") >= len(name) and word.pieces[0].exact
    # `+key=value`: the name begins behind the plus signs.
    offset = len(word.known) - len(word.known.lstrip("+"))
    at = spans.source(start + offset, start + offset + width, key=key) if whole else spans.source(*word.span, key=key)
    variables = tuple(dict.fromkeys(v for w in (word, *values) for v in w.variables))
    if not values:
        source = replace(at, start=None, end=None) if word.maybe else at
        return Flag(name, None, source, at, variables)
    source = _value_place(values, spans, key)
    texts = [w.text for w in values]
    value = " ".join(t or "" for t in texts)
    known = None not in texts and not any(w.maybe for w in (word, *values)) and not is_secret(key, value)
    return Flag(name, value if known else None, source, at, variables)


def _value_place(values: Sequence[Word], spans: Spans, key: str) -> Source:
    start, end = values[0].span[0], values[-1].span[1]
    texts = [w.text for w in values]
    if len(values) > 1 and (end < start or spans.text(start, end).replace("\\", " ").split() != texts):
        # Values from several places: none of them is the place of the whole.
        return replace(spans.source(*values[0].span, key=key), start=None, end=None, text=None)
    return spans.source(start, end, key=key)


def _open_quote(data: bytes) -> int | None:
    """Where a quote is opened that nothing closes.

    A missing quote shifts every later one, so that the last opening is seldom the place. Each quote that stays open
    over a line's end is closed there in turn; it is the one whose closing leaves the fewest such quotes.
    """
    spanning, last = _quotes(data)
    if last is None:
        return None
    best: tuple[int, int] | None = None
    for opened in spanning[:_CANDIDATES]:
        line_end = data.find(b"\n", opened)
        line_end = len(data) if line_end < 0 else line_end
        line_end = opened + len(data[opened:line_end].rstrip(b"\r \t\\"))
        others, still = _quotes(data[:line_end] + data[opened : opened + 1] + data[line_end:])
        if still is None and (best is None or len(others) <= best[0]):
            best = (len(others), opened)
    return last if best is None else best[1]


def _ends_before(end: int, quote: int, data: bytes) -> bool:
    """Whether a command is over before an open quote, and is not the one that the quote belongs to."""
    return end <= quote and re.search(rb"[\n;&|]", re.sub(rb"\\\r?\n", b"", data[end:quote])) is not None


def _quotes(data: bytes) -> tuple[list[int], int | None]:
    """Offsets of the quotes that stay open over a line's end, and of the one that is never closed."""
    spanning: list[int] = []
    at = 0
    while True:
        token = _TOKEN.search(data, at)
        if token is None:
            return spanning, None
        opened, at = token.end() - 1, token.end()
        if token.lastgroup == "heredoc":
            closed = re.compile(rb"^\t*" + re.escape(token["word"]) + rb"\r?$", re.MULTILINE).search(data, at)
            at = closed.end() if closed else len(data)
            continue
        if token.lastgroup != "quote":
            continue
        closing = _CLOSING[token["quote"]].match(data, at)
        end = len(data) if closing is None else closing.end()
        if b"\n" in data[opened:end]:
            spanning.append(opened)
        if closing is None:
            return spanning, opened
        at = end


def _misunderstood(root: Node, spans: Spans, found: bool) -> ReadError:
    """What the parser could make nothing of, at the first place where it says so."""
    node = block = root
    while not (node.is_missing or node.type == "ERROR"):
        block = node
        node = next((c for c in node.children if c.has_error or c.is_missing), None) or node.children[0]
    if node.is_missing:
        line = spans.line_at(block.start_byte)
        return ReadError(f"{node.type!r} is missing: what begins here is never closed", line=line, partial=found)
    text = spans.text(node.start_byte, min(node.end_byte, node.start_byte + 200)).strip().split("\n")[0]
    line = spans.line_at(node.start_byte)
    return ReadError(f"not understood as shell: {text[:60]!r}", line=line, partial=found)
