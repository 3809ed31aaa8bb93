"""Python files give their options, calls and model sizes with exact places, and none of it is ever run."""

from __future__ import annotations

import ast
import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mldiag.artifacts import Build, Option, Origin, PythonSource, Role, SettingValue, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.readers.python_source import python_source

SHARED = Path(__file__).parents[3] / "shared"


def artifacts(text: str | bytes) -> list[PythonSource | SettingValue]:
    content = text.encode() if isinstance(text, str) else text
    return list(python_source(File(Path("nowhere"), "train.py", content)))


def source(text: str | bytes) -> PythonSource:
    (found,) = artifacts(text)
    assert isinstance(found, PythonSource)
    return found


def option(text: str | bytes, name: str) -> Option:
    found = source(text).option(name)
    assert found is not None
    return found


def build(text: str, name: str = "max_positions") -> Build | None:
    found = [b for b in source(text).builds if b.name == name]
    assert len(found) <= 1
    return found[0] if found else None


def spanned(content: bytes, place: Source) -> str:
    assert place.start is not None
    assert place.end is not None
    return content[place.start : place.end].decode()


def parser(*lines: str, parse: str = "args = p.parse_args()") -> str:
    body = "\n".join(lines)
    return f"import argparse\np = argparse.ArgumentParser()\n{body}\n{parse}\n"


# Options


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("256", 256),
        ("-1", -1),
        ("2**8", 256),
        ("1e-3", 0.001),
        ("3 * 256", 768),
        ("10_000", 10000),
        ("0x10", 16),
        ("1 << 4", 16),
        ("int(1e4)", 10000),
        ("float('inf')", float("inf")),
        ("'a' 'b'", "ab"),
        ("True", True),
        ("[0.9, 0.95]", (0.9, 0.95)),
        ("(1, 'x')", (1, "x")),
    ],
)
def test_a_literal_default_has_its_value_and_its_exact_bytes(written: str, value: object) -> None:
    text = f"def f(): pass\np.add_argument('--größe', default={written}, help='x')\n"
    found = option(text, "größe")
    assert (found.default, type(found.default)) == (value, type(value))
    assert (found.source.line, found.source.text, found.editable) == (2, written, True)
    assert spanned(text.encode(), found.source) == written


@pytest.mark.parametrize(
    "written",
    ["None", "os.cpu_count()", "9**9**9", "2**1000", "x + 1", "'a' * 10**9", "f'{x}'", "1 / 0", "-'a'", "1 << 10**9"],
)
def test_what_is_no_literal_has_no_value_and_is_never_worked_out(written: str) -> None:
    found = option(f"def f(): pass\np.add_argument('--x', default={written})\n", "x")
    assert (found.default, found.editable) == (None, False)


def test_spellings_switches_and_destinations_of_argparse() -> None:
    text = parser(
        "p.add_argument('data')",
        "p.add_argument('-s', '--seq-len', '--seq_len', type=int, default=256, help='a\\n   b')",
        "p.add_argument('--lr', dest='learning_rate', type=float, default='3e-4')",
        "p.add_argument('--amp', action='store_true')",
        "p.add_argument('--no-shuffle', dest='shuffle', action='store_false')",
        "p.add_argument('--tie', action=argparse.BooleanOptionalAction, default=True)",
        "g = p.add_argument_group('model')",
        "g.add_argument('--d-model', type=int)",
    )
    found = source(text)
    assert [(o.name, o.flags, o.default, o.takes_value) for o in found.options] == [
        ("data", (), None, True),
        ("seq_len", ("-s", "--seq-len", "--seq_len"), 256, True),
        ("learning_rate", ("--lr",), 0.0003, True),
        ("amp", ("--amp",), False, False),
        ("shuffle", ("--no-shuffle",), True, False),
        ("tie", ("--tie", "--no-tie"), True, False),
        ("d_model", ("--d-model",), None, True),
    ]
    assert found.options[1].help == "a b"
    assert [o.owner for o in found.options[-2:]] == ["p", "g"]
    assert {o.origin for o in found.options} == {Origin.ARGPARSE}
    assert found.options[-1].source.line == 10
    assert found.closed


def test_a_default_that_names_a_constant_points_at_the_constant() -> None:
    text = "SEQ_LEN = 256\n" + parser("p.add_argument('--seq_len', default=SEQ_LEN)")
    found = option(text, "seq_len")
    assert (found.default, found.source.line, found.source.text, found.editable) == (256, 1, "256", True)
    constant = option(text, "SEQ_LEN")
    assert (constant.origin, constant.default, constant.source) == (Origin.CONSTANT, 256, found.source)


def test_a_constant_with_a_second_use_is_not_the_options_alone_to_change() -> None:
    text = "N = 256\n" + parser("p.add_argument('--seq_len', default=N)", "run(N)")
    assert not option(text, "seq_len").editable


def test_a_constant_that_is_assigned_twice_is_no_constant() -> None:
    text = "N = 1\nN = 2\n" + parser("p.add_argument('--x', default=N)")
    assert option(text, "x").default is None
    assert source(text).option("N") is None


def test_options_of_click_dataclasses_and_functions() -> None:
    found = source("""
import click
from dataclasses import dataclass, field

@dataclass
class Config:
    seq_len: int = 256
    lr: float = field(default=3e-4, metadata={"help": "peak"})
    names: list = field(default_factory=list)

@click.command()
@click.option("--batch-size", "-b", "bs", default=32, help="per step")
@click.option("--amp/--no-amp", default=False)
@click.option("--fast", is_flag=True)
def main(bs, amp, fast): ...

def train(model, epochs=3, *, seed=None, clip=1.0): ...
""")
    assert [(o.origin.value, o.name, o.flags, o.default, o.owner, o.takes_value) for o in found.options] == [
        ("click", "bs", ("--batch-size", "-b"), 32, "main", True),
        ("click", "amp", ("--amp", "--no-amp"), False, "main", False),
        ("click", "fast", ("--fast",), False, "main", False),
        ("dataclass", "seq_len", (), 256, "Config", True),
        ("dataclass", "lr", (), 0.0003, "Config", True),
        ("dataclass", "names", (), None, "Config", True),
        ("function", "epochs", (), 3, "train", True),
        ("function", "clip", (), 1.0, "train", True),
    ]
    assert found.options[4].help == "peak"
    assert found.closed


def test_dataclasses_that_a_parser_reads_have_flags() -> None:
    text = """
from dataclasses import dataclass
from transformers import HfArgumentParser
@dataclass
class ModelArguments:
    lr: float = 1e-3
(args,) = HfArgumentParser((ModelArguments,)).parse_args_into_dataclasses()
"""
    assert option(text, "lr").flags == ("--lr",)
    assert not source(text).closed


def test_globals_before_nanogpts_configurator_are_flags() -> None:
    text = "batch_size = 12\nbest = 1e9\nexec(open('configurator.py').read())\niters = 0\nbest = 2\n"
    found = source(text)
    assert [(o.name, o.flags, o.default) for o in found.options] == [
        ("batch_size", ("--batch_size",), 12),
        ("best", ("--best",), 1e9),
    ]


# Whether the options are all


def test_one_parser_with_literal_names_is_closed() -> None:
    assert source(parser("p.add_argument('--a')")).closed
    built = """
import argparse, sys
def common(q):
    q.add_argument("--seed", type=int)
    return q
def build_parser():
    parser = argparse.ArgumentParser(description="x")
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--a")
    common(parser)
    return parser
def main(argv=None):
    args = build_parser().parse_args(argv)
main(sys.argv[1:])
"""
    assert source(built).closed


@pytest.mark.parametrize(
    "text",
    [
        parser("p.add_argument('--a')", parse="args, rest = p.parse_known_args()"),
        parser("p.add_argument('--a')", parse="args = p.parse_args([])"),
        parser("p.add_argument('--a')", parse="args = p.parse_args([a for a in rest])"),
        parser("p.add_argument('--a')", "sub = p.add_subparsers()"),
        parser("p.add_argument('--a')", "add_more(p)"),
        parser("p.add_argument('--a')", "library.add_more(parser=p)"),
        parser("p.add_argument('--a')", "holder = [p]"),
        parser("p.add_argument('--a')", "import sys; sys.argv.remove('--b')"),
        parser("p.add_argument('--a')", "import sys; sys.argv[1:] = []"),
        parser("for n in names: p.add_argument(n)"),
        parser("for n in 'ab': p.add_argument('--' + n)"),
        parser("p.add_argument('--a')", "q = argparse.ArgumentParser()"),
        parser("p.add_argument('--a')").replace("Parser()", "Parser(parents=[base])"),
        parser("p.add_argument('--a')").replace("Parser()", "Parser(**options)"),
        parser("p.add_argument('--a')").replace("import argparse", "import mine as argparse"),
        "import click\n@click.command(context_settings=dict(allow_extra_args=True))\n@click.option('--a')\ndef f(a): 0",
        "import click\n@click.group()\ndef g(): ...\n@g.command()\n@click.option('--a')\ndef f(a): ...",
        "import click\n@common\n@click.command()\n@click.option('--a')\ndef f(a): ...",
        "def f(): ...",
    ],
)
def test_a_program_that_may_take_more_is_not_closed(text: str) -> None:
    assert not source(text).closed


# Calls, imports, names


def test_calls_have_their_imports_resolved_and_their_literals() -> None:
    text = """
import tensorflow as tf
from torch import nn
from torch.optim import AdamW as Opt
from .data import load
loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True, label_smoothing=0.1)
nn.Embedding(10, d, padding_idx=-1)
Opt(params, lr=args.lr)
build().fit(x)
load()
"""
    found = source(text)
    assert [(c.name, c.resolved) for c in found.calls] == [
        ("tf.keras.losses.SparseCategoricalCrossentropy", "tensorflow.keras.losses.SparseCategoricalCrossentropy"),
        ("nn.Embedding", "torch.nn.Embedding"),
        ("Opt", "torch.optim.AdamW"),
        ("build().fit", "build().fit"),
        ("build", "build"),
        ("load", "data.load"),
    ]
    first = found.calls[0]
    assert dict(first.keywords) == {"from_logits": True, "label_smoothing": 0.1}
    assert first.where["label_smoothing"].text == "label_smoothing=0.1"
    assert spanned(text.encode(), first.where["label_smoothing"]) == "label_smoothing=0.1"
    assert found.calls[1].positional == (10, None)
    assert dict(found.calls[1].keywords) == {"padding_idx": -1}
    assert dict(found.calls[2].keywords) == {"lr": None}
    assert found.imports == ("tensorflow", "torch", "torch.optim", "data")


def test_a_class_of_ones_own_is_not_the_imported_one() -> None:
    found = source("from torch.optim import Adam\nclass Adam: ...\nAdam(learning_rate=1)\n")
    assert [c.resolved for c in found.calls] == ["Adam"]


def test_names_are_what_is_read_anywhere() -> None:
    found = source("args.lr = 1\nuse(args.seed, getattr(args, 'wd'), cfg['bs'], cfg.get('clip'))\ndef f(unread): ...\n")
    assert {"args", "seed", "wd", "bs", "clip", "use"} <= found.names
    assert not {"lr", "unread", "f"} & found.names


# A file that is a configuration


def test_a_file_of_assignments_is_a_configuration() -> None:
    text = """# config for nanoGPT
import time
out_dir = 'out-' + str(time.time())
batch_size: int = 12
block_size = 48  # tokens
max_iters = 600 * 10
lr_decay_iters = max_iters
lr = 1e-3; lr = 3e-4
optimizer = dict(type='AdamW', betas=(0.9, 0.95), sched=dict(warmup=5))
"""
    found = [a for a in artifacts(text) if isinstance(a, SettingValue)]
    assert {s.name: s.value for s in found} == {
        "batch_size": 12,
        "block_size": 48,
        "max_iters": 6000,
        "lr_decay_iters": 6000,
        "lr": 0.0003,
        "optimizer.type": "AdamW",
        "optimizer.betas": (0.9, 0.95),
        "optimizer.sched.warmup": 5,
    }
    assert {(s.role, s.syntax) for s in found} == {(Role.FILE, "python")}
    by_name = {s.name: s.source for s in found}
    assert (by_name["block_size"].line, by_name["block_size"].text) == (5, "48")
    assert by_name["lr_decay_iters"].text == "max_iters"
    assert all(spanned(text.encode(), p) == p.text for p in by_name.values())


@pytest.mark.parametrize("text", ["x = 1\nprint(x)\n", "def f(): ...\n", "a = f()\nb = g()\n", "x.y = 1\n", ""])
def test_a_program_is_no_configuration(text: str) -> None:
    assert isinstance(artifacts(text)[0], PythonSource)


# What the model is built with

FOUNDING = '''
import argparse
from tensorflow.keras import layers
import tensorflow as tf

def build_parser():
    parser = argparse.ArgumentParser(description="v5")
    parser.add_argument("--seq_len", type=int, default=256, help="positions")
    parser.add_argument("--d_model", type=int, default=384)
    parser.add_argument("--vocab_size", type=int, default=4000)
    return parser

def model_config():
    """The architecture, so that evaluation can rebuild it without the launch script."""
    return build_parser().parse_args([])

def build_model(config):
    inputs = layers.Input(shape=(None,), dtype="int32")
    positions = tf.range(tf.shape(inputs)[-1])
    tokens = layers.Embedding(config.vocab_size, config.d_model, name="token_embedding")(inputs)
    places = layers.Embedding(config.seq_len, config.d_model, name="position_embedding")(positions)
    return tf.keras.Model(inputs, tokens + places)

def main(argv=None):
    args = build_parser().parse_args(argv)
    data = windows(args.data, args.seq_len)
    model = build_model(model_config())
    model.fit(data)

if __name__ == "__main__":
    main()
'''


def test_a_model_that_is_rebuilt_from_the_parsers_defaults_has_their_values() -> None:
    found = {b.name: b for b in source(FOUNDING).builds}
    positions = found["max_positions"]
    assert (positions.value, positions.option, positions.uses_default) == (256, "seq_len", True)
    assert (positions.source.line, positions.source.text) == (8, "256")
    assert positions.at.line == 21
    assert (found["vocab_size"].value, found["vocab_size"].uses_default) == (4000, True)
    assert (found["d_model"].value, found["d_model"].uses_default) == (384, True)
    assert source(FOUNDING).closed


def test_a_model_built_from_the_parsed_arguments_follows_the_command_line() -> None:
    found = build(FOUNDING.replace("build_model(model_config())", "build_model(args)"))
    assert found is not None
    assert (found.value, found.option, found.uses_default, found.source.line) == (None, "seq_len", False, 8)


CLASS = """
import argparse
import torch.nn as nn
class LM(nn.Module):
    def __init__(self, vocab, ctx, d):
        super().__init__()
        self.tok, self.pos = nn.Embedding(vocab, d), nn.Embedding(ctx, d)
def main():
    p = argparse.ArgumentParser()
    p.add_argument("--seq-len", type=int, default=256)
    p.add_argument("--width", type=int, default=48)
    args = p.parse_args()
    {before}
    model = LM(100, {argument}, args.width)
    {after}
main()
"""


def in_class(argument: str, before: str = "pass", after: str = "pass") -> tuple[object, ...] | None:
    found = build(CLASS.format(argument=argument, before=before, after=after))
    return None if found is None else (found.value, found.option, found.uses_default, found.source.text)


@pytest.mark.parametrize(
    ("argument", "before", "expected"),
    [
        ("64", "pass", (64, None, False, "64")),
        ("2 * 32", "pass", (64, None, False, "2 * 32")),
        ("args.context", "args.context = 64", (64, None, False, "64")),
        ("args.seq_len", "pass", (None, "seq_len", False, "256")),
        ("int(args.seq_len)", "pass", (None, "seq_len", False, "256")),
        ("n", "n = args.seq_len", (None, "seq_len", False, "256")),
        ("p.get_default('seq_len')", "pass", (256, "seq_len", True, "256")),
        ("p.parse_args([]).seq_len", "pass", (256, "seq_len", True, "256")),
        ("p.parse_args(args=()).seq_len + 1", "pass", (257, None, False, "p.parse_args(args=()).seq_len + 1")),
        ("vars(args)['seq_len']", "pass", (None, "seq_len", False, "256")),
        ("getattr(args, 'seq_len')", "pass", (None, "seq_len", False, "256")),
        ("cfg['n']", "cfg = {'n': 32}", (32, None, False, "32")),
        ("cfg['n']", "cfg = dict(n=32)", (32, None, False, "32")),
        ("cfg['n']", "cfg = {'n': 32}; cfg['n'] = 16", (16, None, False, "16")),
    ],
)
def test_an_argument_is_followed_to_its_number(argument: str, before: str, expected: tuple[object, ...] | None) -> None:
    assert in_class(argument, before) == expected


@pytest.mark.parametrize(
    ("argument", "before", "after"),
    [
        ("n", "n = 1\n    n = 2", "pass"),
        ("n", "for n in (1, 2): pass", "pass"),
        ("n", "n = 1\n    n += 1", "pass"),
        ("64 if args.width else 32", "pass", "pass"),
        ("args.seq_len or 512", "pass", "pass"),
        ("args.context", "if args.width: args.context = 64", "pass"),
        ("args.context", "pass", "args.context = 64"),
        ("args.context", "args.context = 1; args.context = 2", "pass"),
        ("args.context", "args.context = 64; setattr(args, key, value)", "pass"),
        ("args.context", "args.context = 64; vars(args).update(other)", "pass"),
        ("args.context", "args.context = 64; other = args; other.context = 5", "pass"),
        ("args.context", "args.context = 64; args.__dict__[key] = value", "pass"),
        ("args.context", "args.context = 64; vars(args)[key] = value", "pass"),
        ("args.context", "args.context = 64; d = vars(args); d.update(other)", "pass"),
        ("args.context", "args.context = 64; d = vars(args); d[key] = value", "pass"),
        ("args.context", "args.context = 64; object.__setattr__(args, key, value)", "pass"),
        ("cfg['n']", "cfg = {'n': 32}; cfg[key] = value", "pass"),
        ("args.missing", "pass", "pass"),
        ("p.get_default('seq_len')", "p.set_defaults(seq_len=5)", "pass"),
        ("cfg['n']", "cfg = {'n': 32}; cfg.update(n=5)", "pass"),
        ("cfg['n']", "cfg = {'n': 32, **more}", "pass"),
        ("len(text)", "pass", "pass"),
        ("64", "pass", "LM(100, 128, 4)"),
        ("64", "pass", "factory(LM)"),
        ("*sizes", "pass", "pass"),
        ("64", "pass", "LM(**sizes)"),
    ],
)
def test_where_a_second_value_is_possible_nothing_is_built(argument: str, before: str, after: str) -> None:
    assert in_class(argument, before, after) is None


def test_two_calls_that_agree_are_one_value() -> None:
    assert in_class("64", after="LM(100, 64, 4)") == (64, None, False, "64")


CONFIGS = """
from dataclasses import dataclass
import torch, torch.nn as nn
{config}
class Model(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.transformer = nn.ModuleDict(dict(
            wte=nn.Embedding(config.vocab_size, 8),
            wpe=nn.Embedding(self.config.block_size, 8),
        ))
model = Model({made})
"""
DATA = "@dataclass\nclass Config:\n    vocab_size: int = 100\n    block_size: int = 1024"
PLAIN = "class Config:\n    def __init__(self, block_size=1024, **rest):\n        self.block_size = block_size"
CONSTANTS = "class Config:\n    block_size = 1024"


@pytest.mark.parametrize(
    ("config", "made", "expected"),
    [
        (DATA, "Config()", (1024, "block_size", True)),
        (DATA, "Config(block_size=64)", (64, None, False)),
        (DATA, "Config(10, 64)", (64, None, False)),
        (DATA, "Config(**kw)", None),
        (DATA, "config", None),
        (PLAIN, "Config()", (1024, None, False)),
        (PLAIN, "Config(64)", (64, None, False)),
        (CONSTANTS, "Config()", (1024, None, False)),
        (CONSTANTS, "Config", (1024, None, False)),
        (CONSTANTS + "\nConfig.block_size = 5", "Config", None),
        (DATA + "\ncfg = Config()\ncfg.block_size = 32", "cfg", (32, None, False)),
        (DATA + "\ndef make():\n    return Config(block_size=16)", "make()", (16, None, False)),
        (DATA + "\ndef make(n=16):\n    return Config(block_size=n)", "make()", (16, None, False)),
        (DATA + "\ndef make(n=16):\n    return Config(block_size=n)", "make(n=8)", (8, None, False)),
        (DATA + "\ndef make():\n    if x: return Config(1, 2)\n    return Config()", "make()", None),
        (DATA + "\nfrom types import SimpleNamespace as NS", "NS(block_size=5)", (5, None, False)),
    ],
)
def test_a_configuration_object_is_followed(config: str, made: str, expected: tuple[object, ...] | None) -> None:
    found = build(CONFIGS.format(config=config, made=made))
    assert (None if found is None else (found.value, found.option, found.uses_default)) == expected


@pytest.mark.parametrize(
    "line",
    [
        "pos_emb = layers.Embedding(input_dim=32, output_dim=8)(positions)",
        "x = tokens + layers.Embedding(32, 8)(positions)",
        "x = layers.Embedding(32, 8, name='position_embedding')(i)",
        "self.pos = nn.Parameter(torch.zeros(1, 32, 8))",
        "self.pos_embed = nn.Parameter(torch.randn(32, 8) * 0.02)",
        "self.positional = self.add_weight(shape=(32, 8), name='pos')",
        "self.add_module('wpe', nn.Embedding(32, 8))",
        "parts = {'position_embeddings': nn.Embedding(32, 8)}",
        "self.wpe = nn.Embedding(32, 8).to(device)",
        "pos: nn.Module = nn.Embedding(num_embeddings=32, embedding_dim=8)",
        "model = transformers.GPT2Config(n_positions=32)",
    ],
)
def test_a_position_table_is_known_by_its_name(line: str) -> None:
    found = build(f"import transformers\ndef build(self, tokens, positions):\n    {line}\nbuild(a, b, c)\n")
    assert found is not None
    assert (found.value, found.at.line) == (32, 3)


@pytest.mark.parametrize(
    "line",
    [
        "relative_pos = nn.Embedding(32, 8)",
        "pos_tag_emb = nn.Embedding(32, 8)",
        "user_embedding = nn.Embedding(32, 8)",
        "token_type_embeddings = nn.Embedding(2, 8)",
        "self.pos = nn.Parameter(torch.zeros(1, 8, 4, 4))",
        "pos = nn.Embedding(rows, 8)",
        "post = nn.Embedding(32, 8)",
    ],
)
def test_other_tables_are_no_position_tables(line: str) -> None:
    assert build(f"def build(self):\n    {line}\nbuild(a)\n") is None
    assert build(f"def build(self):\n    {line}\nbuild(a)\n", "vocab_size") is None


def test_code_that_the_file_does_not_run_counts_only_alone() -> None:
    table = "class {}:\n    def __init__(self):\n        self.pos = nn.Embedding({}, 8)\n"
    assert build(table.format("A", 32)) is not None
    assert build(table.format("A", 32) + table.format("B", 64)) is None
    found = build(table.format("A", 32) + table.format("B", 64) + "B()\n")
    assert found is not None
    assert found.value == 64


def test_a_base_class_gets_what_its_subclass_hands_up() -> None:
    text = """
class Base:
    def __init__(self, ctx):
        self.pos = nn.Embedding(ctx, 8)
class Small(Base):
    def __init__(self):
        super().__init__(32)
Small()
"""
    found = build(text)
    assert found is not None
    assert found.value == 32


# Bytes and bad input


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_places_are_exact_behind_a_byte_order_mark_and_any_line_end(newline: str, mark: bytes) -> None:
    lines = ["# é", "p.add_argument('--ação', default = 'ü')", "p.add_argument('--n', default=(  256 ))"]
    content = mark + newline.join(lines).encode()
    found = {o.name: o.source for o in source(content).options}
    assert spanned(content, found["ação"]) == "'ü'"
    assert spanned(content, found["n"]) == "256"
    assert found["n"].text == "256"


def test_a_utf16_file_is_read_with_the_places_it_has_on_disk() -> None:
    content = "# é\np.add_argument('--n', default=256)\n".encode("utf-16")
    place = option(content, "n").source
    assert content[place.start : place.end].decode("utf-16-le") == "256"


@pytest.mark.parametrize(
    ("content", "reason", "line"),
    [
        (b"x = 1\ndef f(:\n    pass\n", "not valid Python 3", 2),
        (b"print 'hello'\n", "Python 2", 1),
        (b"x = '''\nnever closed\n", "not valid Python 3", 1),
        (b"x = 1\n\x00\n", "zero byte", 2),
        (b"# caf\xe9\x01\n", "not UTF-8", 1),
        (b"x = (" * 1000, "", None),
        (b"-" * 100_000 + b"1", "", None),
        (b"#" * (2 * 2**20 + 1), "more than", None),
    ],
)
def test_what_cannot_be_read_says_why_and_where(content: bytes, reason: str, line: int | None) -> None:
    with pytest.raises(ReadError) as caught:
        source(content)
    assert reason in caught.value.reason
    assert line is None or caught.value.line == line


def test_invalid_escapes_are_no_concern_of_ours() -> None:
    assert option("x = '\\d'\ndef f(a=1): ...\n", "a").default == 1


EXPRESSIONS = st.recursive(
    st.sampled_from(["1", "n", "args.n", "self.n", "cfg['n']", "'x'", "f(n)", "C(n)", "p.parse_args([])", "None"]),
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda p: f"({p[0]} + {p[1]})"),
        inner.map(lambda e: f"f({e})"),
        inner.map(lambda e: f"{e if e.isidentifier() else 'args'}.n"),
        st.tuples(inner, inner).map(lambda p: f"({p[0]} if {p[1]} else 2)"),
    ),
    max_leaves=6,
)
STATEMENTS = st.one_of(
    EXPRESSIONS.map(lambda e: f"n = {e}"),
    EXPRESSIONS.map(lambda e: f"args.n = {e}"),
    EXPRESSIONS.map(lambda e: f"cfg = {{'n': {e}}}"),
    EXPRESSIONS.map(lambda e: f"pos = nn.Embedding({e}, 8)"),
    EXPRESSIONS.map(lambda e: f"def f(n={e}): return {e}"),
    EXPRESSIONS.map(lambda e: f"class C:\n    n = {e}\n    def __init__(self, n): self.n = {e}"),
    st.just("p = argparse.ArgumentParser()\np.add_argument('--n', default=7)\nargs = p.parse_args()"),
)


@given(st.lists(STATEMENTS, max_size=12))
def test_any_tangle_of_definitions_has_an_end(statements: list[str]) -> None:
    text = "import argparse\n" + "\n".join(statements) + "\nf(1)\n"
    found = source(text)
    for place in (*(o.source for o in found.options), *(b.source for b in found.builds)):
        if place.start is not None:
            assert spanned(text.encode(), place) == place.text


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_no_bytes_bring_the_reader_down(content: bytes) -> None:
    with contextlib.suppress(ReadError):
        assert all(isinstance(a, PythonSource | SettingValue) for a in artifacts(content))


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "é = 'ü'", "# ß", "\t", "\f"]), st.integers(-9, 9**9)), min_size=1, max_size=5
    ),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
)
def test_every_place_holds_the_literal_that_python_reads(rows: list[tuple[str, int]], end: str, mark: bool) -> None:
    text = "".join(
        f"{before if before.strip() else ''}{end}def f{i}(a, ü='é', n={n}): ...{end}"
        for i, (before, n) in enumerate(rows)
    )
    content = (b"\xef\xbb\xbf" if mark else b"") + text.encode()
    found = [o for o in source(content).options if o.name == "n"]
    assert [ast.literal_eval(spanned(content, o.source)) for o in found] == [n for _, n in rows]
    assert [o.default for o in found] == [n for _, n in rows]


def test_a_long_file_is_read_in_a_moment() -> None:
    block = FOUNDING + "\n".join(f"value_{i} = call_{i}(args.x, lr={i}, name='n')" for i in range(100))
    text = "\n".join(block.replace("build_", f"build_{n}_").replace("main(", f"main_{n}(") for n in range(40))
    assert text.count("\n") > 5_000
    begin = time.process_time()
    source(text)
    assert time.process_time() - begin < 3


def test_a_chain_of_functions_is_followed_to_its_end() -> None:
    chain = "".join(f"def f{i}(): return f{i + 1}() + f{i + 1}()\n" for i in range(40))
    assert build(f"{chain}def f40(): return 1\npos = nn.Embedding(f0(), 8)\n") is None


@pytest.mark.skipif(not (SHARED / "faults").is_dir(), reason="the measured runs are not here")
def test_every_measured_source_is_read() -> None:
    paths = sorted((SHARED / "faults" / "runs").rglob("*.py"))
    assert paths
    for path in paths:
        found = list(python_source(File(path.parent, path.name)))
        content = path.read_bytes()
        places = [a.source for a in found if isinstance(a, SettingValue)]
        places += [o.source for a in found if isinstance(a, PythonSource) for o in a.options]
        assert found
        assert all(spanned(content, p) == p.text for p in places if p.start is not None)
    (read,) = python_source(File(SHARED / "faults" / "runs" / "pt-0817a8", "train.py"))
    assert isinstance(read, PythonSource)
    assert [(b.value, b.source.line) for b in read.builds if b.name == "max_positions"] == [(64, 60)]


def test_the_reader_takes_python_files() -> None:
    (found,) = [r for r in readers_in("mldiag.readers") if r.name == "python_source"]
    assert found.takes("src/train.py")
    assert found.takes("GUI.PYW")
    assert not found.takes("train.pyc")


DEFAULT_BUILT = """
import json
from dataclasses import dataclass
from torch import nn
from tools import override
@dataclass
class Config:
    seq_len: int = 128
class LM(nn.Module):
    def __init__(self, config):
        self.pos = nn.Embedding(config.seq_len, 8)
config = Config()
{before}
model = LM(config)
{after}
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("pass", "pass"),
        ("print(json.dumps(config))", "pass"),
        ("pass", "override(config)"),
        ("x = {}; x[1] = 2", "pass"),
    ],
)
def test_a_configuration_that_nothing_changes_builds_its_defaults(before: str, after: str) -> None:
    found = build(DEFAULT_BUILT.format(before=before, after=after))
    assert found is not None
    assert (found.value, found.uses_default, found.through) == (128, True, {"LM"})


@pytest.mark.parametrize(
    "before",
    ["override(config)", "config = override(config)", "exec(open('configurator.py').read())", "globals()[key] = value"],
)
def test_a_configuration_that_unseen_code_may_change_builds_no_known_size(before: str) -> None:
    assert build(DEFAULT_BUILT.format(before=before, after="pass")) is None
