"""Shell scripts give the commands that start Python programs, and the place where each value is written."""

from __future__ import annotations

import contextlib
import re
import shlex
import time
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from mldiag.artifacts import Flag, Launch, Source
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.parts import readers_in
from mldiag.readers.shell import shell

SHARED = Path(__file__).parents[3] / "shared"


def launches(text: str | bytes) -> list[Launch]:
    content = text.encode() if isinstance(text, str) else text
    return list(shell(File(Path("nowhere"), "run.sh", content)))


def launch(text: str | bytes) -> Launch:
    (found,) = launches(text)
    return found


def flags(text: str | bytes) -> dict[str, Flag]:
    return {f.name: f for f in launch(text).flags}


def values(text: str | bytes) -> dict[str, str | None]:
    return {f.name: f.value for f in launch(text).flags}


def spanned(content: str | bytes, place: Source) -> str:
    data = content.encode() if isinstance(content, str) else content
    assert place.start is not None
    assert place.end is not None
    return data[place.start : place.end].decode()


def fails(text: str | bytes) -> tuple[list[Launch], ReadError]:
    found = []
    reading = shell(File(Path("nowhere"), "run.sh", text.encode() if isinstance(text, str) else text))
    with pytest.raises(ReadError) as caught:
        found.extend(reading)
    return found, caught.value


# Which commands


@pytest.mark.parametrize(
    ("command", "launcher", "program"),
    [
        ("python train.py", "python", "train.py"),
        ("python3 -u train.py", "python", "train.py"),
        ("/usr/bin/python3.11 -X dev -W ignore ./train.py", "python", "./train.py"),
        ("./train.py", "python", "./train.py"),
        ("python -m pkg.train", "python -m", "pkg.train"),
        ("python -um pkg.train", "python -m", "pkg.train"),
        ("torchrun --standalone --nproc_per_node=2 train.py", "torchrun", "train.py"),
        ("torchrun --nproc_per_node 2 -m pkg.train", "torchrun -m", "pkg.train"),
        ("torchrun --nproc_per_node 8 $SCRIPT", "torchrun", "$SCRIPT"),
        ("python -m torch.distributed.run --nnodes 2 train.py", "python -m torch.distributed.run", "train.py"),
        ("accelerate launch --multi_gpu --num_processes 2 train.py", "accelerate launch", "train.py"),
        ("deepspeed --num_gpus 8 train.py", "deepspeed", "train.py"),
        ("horovodrun -np 4 python train.py", "python", "train.py"),
        ("srun -N 2 -l python train.py", "python", "train.py"),
        ("nohup nice -n 10 python train.py &", "python", "train.py"),
        ("time CUDA_VISIBLE_DEVICES=0 python train.py", "python", "train.py"),
        ("timeout -k 10 1h python train.py", "python", "train.py"),
        ("env A=1 python train.py", "python", "train.py"),
        ("conda run -n x python train.py", "python", "train.py"),
        ("uv run train.py", "python", "train.py"),
        ("python -m cProfile -o out.prof train.py", "python", "train.py"),
        ("$PYTHON -u train.py", "python", "train.py"),
        ("${PYTHON:-python3} train.py", "python", "train.py"),
        ("python train.py 2>&1 | tee log", "python", "train.py"),
        ("> log python train.py", "python", "train.py"),
        ("if python train.py; then echo; fi", "python", "train.py"),
        ("f() { python train.py; }", "python", "train.py"),
        ("for i in 1 2; do python train.py & done", "python", "train.py"),
        ("(cd x && python train.py) || exit 1", "python", "train.py"),
        ("! python train.py", "python", "train.py"),
        ('CMD="python train.py"; eval "$CMD"', "python", "train.py"),
        ('CMD=(python train.py); "${CMD[@]}"', "python", "train.py"),
    ],
)
def test_a_command_that_starts_a_program_is_a_launch(command: str, launcher: str, program: str) -> None:
    found = launch(f"#!/bin/bash\n{command}\n")
    assert (found.launcher, found.program) == (launcher, program)


@pytest.mark.parametrize(
    "command",
    [
        "echo python train.py",
        "# python train.py",
        "python -c 'import x'",
        "python - <<E\nimport x\nE",
        "python --version",
        "python",
        "python -m pip install -r x.txt",
        "python setup.py install",
        "conda install python pytorch",
        "pip install torch",
        "accelerate config",
        "cat > x.sh <<E\npython train.py\nE",
        "sbatch train.sh",
        "",
    ],
)
def test_other_commands_are_none(command: str) -> None:
    assert launches(f"{command}\n") == []


# Flags


def test_every_way_to_write_a_flag() -> None:
    text = """python -u train.py cfg.py --x=1 --lr 3e-4 \\
  --n -1 --t -.5 --betas 0.9 0.95 --fp16 \\
  --name "a b" --q='z w' --e "" --y= --u=$'v' --p a\\ b --z 'it'"'"'s' -b 256 /data/x
"""
    found = launch(text)
    assert [(f.name, f.value) for f in found.flags] == [
        ("--x", "1"),
        ("--lr", "3e-4"),
        ("--n", "-1"),
        ("--t", "-.5"),
        ("--betas", "0.9 0.95"),
        ("--fp16", None),
        ("--name", "a b"),
        ("--q", "z w"),
        ("--e", ""),
        ("--y", ""),
        ("--u", "v"),
        ("--p", "a b"),
        ("--z", "it's"),
        ("-b", "256"),
    ]
    assert found.positionals == ("cfg.py", "/data/x")
    assert [f.name for f in found.launcher_flags] == ["-u"]
    assert [spanned(text, f.source) for f in found.flags] == [
        "1", "3e-4", "-1", "-.5", "0.9 0.95", "--fp16", "a b", "z w", "", "", "v", "a\\ b", "'it'\"'\"'s'", "256",
    ]  # fmt: skip
    assert all(spanned(text, f.at) == f.name == f.at.text for f in found.flags)


def test_a_bare_switch_is_its_own_place() -> None:
    found = flags("python train.py --amp --lr 1\n")
    assert found["--amp"].source == found["--amp"].at
    assert found["--lr"].source != found["--lr"].at


def test_overrides_have_their_key_as_name() -> None:
    text = "python train.py --config-name base -m lr=0.1 model.dim=3 +data.path='a b' ++x=\n"
    found = launch(text)
    assert values(text) == {
        "--config-name": "base", "-m": None, "lr": "0.1", "model.dim": "3", "data.path": "a b", "x": "",
    }  # fmt: skip
    assert [spanned(text, f.at) for f in found.flags][-4:] == ["lr", "model.dim", "data.path", "x"]


def test_words_behind_a_flag_are_its_values_where_another_flag_follows() -> None:
    assert values("python t.py --files a b --x 1\n") == {"--files": "a b", "--x": "1"}
    found = launch("python t.py --lr 0.1 --resume last.pt data out\n")
    assert (found.flags[-1].value, found.positionals) == ("last.pt", ("data", "out"))


def test_arguments_behind_a_redirection_and_a_double_dash_are_arguments() -> None:
    found = launch("python t.py > log --x 1 2>&1 --y 2 -- --z\n")
    assert [(f.name, f.value) for f in found.flags] == [("--x", "1"), ("--y", "2")]
    assert found.positionals == ("--z",)


def test_places_have_line_column_bytes_and_the_whole_line() -> None:
    text = "# é\n\npython t.py \\\n    --ação  'ü' \\\n    --seq_len 320 # mldiag\n"
    place = flags(text)["--ação"].source
    assert (place.line, place.column, place.text, place.key) == (4, 14, "ü", "ação")
    assert place.excerpt == "    --ação  'ü' \\"
    found = launch(text)
    assert found.end is not None
    assert text.encode()[: found.end].endswith(b"--seq_len 320")
    assert (found.source.line, found.source.excerpt) == (3, "python t.py \\")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_crlf_and_byte_order_marks_are_ordinary(mark: bytes) -> None:
    content = mark + b"SEQ=5\r\npython t.py \\\r\n  --x $SEQ \\\r\n  --y 'a'\r\n"
    found = flags(content)
    assert {n: f.value for n, f in found.items()} == {"--x": "5", "--y": "a"}
    assert spanned(content, found["--x"].source) == "5"
    assert (found["--x"].source.line, found["--y"].source.line) == (1, 4)


# Variables


def test_a_flag_with_a_variable_points_at_the_assignment() -> None:
    text = 'SEQ=320\nexport LR="3e-4"\npython t.py --seq_len $SEQ --lr="${LR}"\n'
    found = flags(text)
    assert (found["--seq_len"].value, found["--seq_len"].source.line, found["--seq_len"].at.line) == ("320", 1, 3)
    assert (found["--lr"].value, spanned(text, found["--lr"].source)) == ("3e-4", "3e-4")
    assert found["--lr"].variables == ("LR",)
    assert launch(text).references == {"SEQ": 1, "LR": 1}
    assert launch(text).environment == {"LR": "3e-4"}


@pytest.mark.parametrize(
    ("before", "word", "value", "line"),
    [
        ("", "${X:-320}", "320", 2),
        ("", '"${X:-3 20}"', "3 20", 2),
        ("X=${X:-320}", "$X", "320", 1),
        ("X=${1:-320}", "$X", "320", 1),
        (': "${X:=320}"', "$X", "320", 1),
        ("A=320 B=$A X=$B", "$X", "320", 1),
        ("X=", "${X:-7}", "7", 2),
        ("X=5", "${X:-7}", "5", 1),
        ("X=5", "a$X.b", "a5.b", 2),
        ("f() { X=3; }", "${X:?none}", None, 2),
        ("X=5; export X", "$X", "5", 1),
        ("readonly X=5", "$X", "5", 1),
        ("X=5; X=6", "$X", None, 2),
        ("X=5; if a; then X=6; fi", "$X", None, 2),
        ("if a; then X=6; fi", "$X", None, 2),
        ("a && X=6", "$X", None, 2),
        ("(X=6)", "$X", None, 2),
        ("for X in 1 2; do :; done", "$X", None, 2),
        ("read X", "$X", None, 2),
        ("X=5; ((X++))", "$X", None, 2),
        ("X=5; unset X", "$X", None, 2),
        ("X=$(date)", "$X", None, 2),
        ("X=$Y", "$X", None, 2),
        ("X=$X", "$X", None, 2),
        ("A=$B; B=$A; X=$A", "$X", None, 2),
        ("", "$1", None, 2),
        ("", "$(cat x)", None, 2),
        ("", "$((1 + 2))", None, 2),
        ("", "${X%.py}", None, 2),
        ("", "$UNSET", None, 2),
    ],
)
def test_a_variable_is_known_where_the_script_gives_it_one_value(
    before: str, word: str, value: str | None, line: int
) -> None:
    text = f"{before}\npython t.py --x {word} --y 2\n"
    found = flags(text)["--x"]
    assert (found.value, found.source.line if value is not None else 2) == (value, line)
    assert found.source != found.at
    assert flags(text)["--y"].value == "2"
    assert value is None or spanned(text, found.source) in (value, "a$X.b")


def test_a_variable_is_known_inside_the_block_that_assigns_it() -> None:
    assert values("f() {\n local n=3\n python t.py --n $n --g $G\n}\nG=5\nf\n") == {"--n": "3", "--g": "5"}
    assert values("if a; then\n N=3\n python t.py --n $N\nfi\n") == {"--n": "3"}
    assert values("if a; then\n N=3\nelse\n python t.py --n $N\nfi\n") == {"--n": None}


def test_a_variable_that_is_assigned_after_its_use_is_unknown() -> None:
    assert values("python t.py --n $N\nN=3\n") == {"--n": None}


def test_references_count_every_use_but_the_variables_own_default() -> None:
    text = 'X=${X:-1}\necho "$X" $((X + 1))\npython t.py --x $X\n'
    assert launch(text).references["X"] == 3


def test_an_array_is_expanded_with_the_places_of_its_elements() -> None:
    text = """LR=1e-3
ARGS=(
  --a 1 --b "2 3"  # a comment
  --lr=$LR
)
ARGS+=(--c 4)
if x; then ARGS+=(--d 5 --fp16); fi
python t.py "${ARGS[@]}" --z
"""
    found = flags(text)
    assert {n: f.value for n, f in found.items()} == {
        "--a": "1", "--b": "2 3", "--lr": "1e-3", "--c": "4", "--d": None, "--fp16": None, "--z": None,
    }  # fmt: skip
    assert [found[n].source.line for n in ("--a", "--b", "--lr", "--c")] == [3, 3, 1, 6]
    assert found["--a"].variables == ("ARGS",)
    # Passed only on some paths: not the same as a switch that is always on.
    assert found["--fp16"].source != found["--fp16"].at
    assert found["--z"].source == found["--z"].at


def test_a_text_of_arguments_is_split_at_its_blanks() -> None:
    text = (
        'OPTS=""\nOPTS+=" --lr ${LR:-0.1}"\nOPTS+=" --epochs 3 \\\n  --x 4"\nCMD="python -m pkg.t ${OPTS} $@"\n${CMD}\n'
    )
    found = flags(text)
    assert {n: f.value for n, f in found.items()} == {"--lr": "0.1", "--epochs": "3", "--x": "4"}
    assert [(f.source.line, spanned(text, f.source)) for f in found.values()] == [(2, "0.1"), (3, "3"), (4, "4")]
    assert set(found["--x"].variables) == {"CMD", "OPTS"}


def test_a_command_that_is_put_together_as_text_is_read_to_its_redirection() -> None:
    text = """DIR=$(pwd)
O=" \\
  --lr 0.1 \\
  --amp"
if [ -n "$X" ]; then
  O="${O} --debug 1"
fi
O="$O --seed 2"
CMD="deepspeed ${DIR}/train.py ${O} &> ${OUT}/log"
eval ${CMD}
"""
    found = launch(text)
    assert (found.launcher, found.program) == ("deepspeed", "$(pwd)/train.py")
    assert [(f.name, f.value, f.source.line) for f in found.flags] == [
        ("--lr", "0.1", 3),
        ("--amp", None, 4),
        ("--debug", None, 6),
        ("--seed", "2", 8),
    ]
    assert found.positionals == ()


def test_a_program_in_an_unknown_folder_is_shown_as_it_is_written() -> None:
    assert launch('torchrun --foo ${D}/t.py "$@"\n').program == "${D}/t.py"
    assert launch('$(dirname "$0")/t.py --x 1\n').program == '$(dirname "$0")/t.py'


def test_the_scripts_own_arguments_are_no_value() -> None:
    found = launch('python t.py --resume "$@" $*\n')
    assert [(f.name, f.value) for f in found.flags] == [("--resume", None)]
    assert found.positionals == ()


def test_the_environment_of_a_launch() -> None:
    text = "export A=1\nexport B=$(x) C\nC=3\nD=4 E=$A python t.py\nexport Z=9\n"
    assert launch(text).environment == {"A": "1", "C": "3", "D": "4", "E": "1"}
    assert launch("srun env OMP=4 python t.py --x 1\n").environment == {"OMP": "4"}


def test_assignments_on_the_line_before_a_command_are_the_scripts() -> None:
    found = launch("A=1 B=2\nC=3 python t.py --a $A --c $C\n")
    assert [f.value for f in found.flags] == ["1", None]
    assert (found.environment, found.source.line, found.source.column) == ({"C": "3"}, 2, 1)


def test_flags_of_the_launcher_are_not_the_programs() -> None:
    found = launch("srun -N 2 torchrun --standalone --nproc_per_node 2 t.py --x 1\n")
    assert [(f.name, f.value) for f in found.launcher_flags] == [
        ("-N", "2"),
        ("--standalone", None),
        ("--nproc_per_node", "2"),
    ]
    assert [f.name for f in found.flags] == ["--x"]


# Bad input


def test_an_open_quote_is_found_where_it_is_opened() -> None:
    text = 'X="it\'s\nfine"\npython a.py --x 1\npython b.py \\\n  --data "corpus.txt \\\n  --name "a"\necho "b"\n'
    found, error = fails(text)
    assert (error.reason, error.line, error.partial) == ("a quote is opened and never closed", 5, True)
    assert [one.program for one in found] == ["a.py"]


def test_an_open_quote_in_the_first_command_leaves_nothing() -> None:
    found, error = fails("python a.py --x 'abc\npython b.py\n")
    assert (found, error.line, error.partial) == ([], 1, False)


@pytest.mark.parametrize(
    "text",
    [
        "# it's\npython t.py\n",
        'python t.py --x \\"\n',
        "cat <<E\nit's\nE\npython t.py\n",
        "echo ${#X} $# '#'\npython t.py\n",
    ],
)
def test_an_apostrophe_is_not_always_a_quote(text: str) -> None:
    assert launch(text).program == "t.py"


def test_a_block_that_is_never_closed_is_named_where_it_begins() -> None:
    found, error = fails("x=1\nif true; then\n  python t.py\n")
    assert ("'fi' is missing" in error.reason, error.line, error.partial) == (True, 2, True)
    assert [one.program for one in found] == ["t.py"]


def test_what_is_no_shell_is_shown_and_the_rest_is_read() -> None:
    found, error = fails("python a.py --x 1\n) foo\npython b.py --y 2\n")
    assert ("not understood" in error.reason, error.line, error.partial) == (True, 2, True)
    assert [one.program for one in found] == ["a.py", "b.py"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"python t.py --x \xff\n", "not UTF-8"), (b"#" * (2**20 + 1), "more than"), (b"(" * 5000, "")],
)
def test_what_cannot_be_read_says_why(content: bytes, reason: str) -> None:
    assert reason in fails(content)[1].reason


def test_variables_that_double_each_other_come_to_an_end() -> None:
    lines = ["A0=x"] + [f'A{n}="$A{n - 1}$A{n - 1}"' for n in range(1, 60)]
    begin = time.process_time()
    assert values("\n".join(lines) + "\npython t.py --x $A59 --y $A3\n") == {"--x": None, "--y": "x" * 8}
    assert time.process_time() - begin < 2


@given(st.binary(max_size=200) | st.text("\"'\\$(){}[]=- \n#;|&<>`x1ARGS@*:python .y", max_size=80).map(str.encode))
def test_no_bytes_bring_the_reader_down(content: bytes) -> None:
    with contextlib.suppress(ReadError):
        assert all(one.program for one in launches(content))


WORDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12
).filter(lambda w: not w.startswith("-") and not re.match(r"\+{0,2}[A-Za-z_][\w.@/-]*=", w))


@given(st.lists(st.tuples(WORDS, st.sampled_from([" ", "=", " \\\n  "])), min_size=1, max_size=6), st.booleans())
def test_any_quoted_value_is_read_as_the_shell_would(pairs: list[tuple[str, str]], double: bool) -> None:
    def quoted(word: str) -> str:
        return '"' + re.sub(r'(["\\$`])', r"\\\1", word) + '"' if double else shlex.quote(word)

    text = "python t.py" + "".join(f" --f{n}{join}{quoted(w)}" for n, (w, join) in enumerate(pairs)) + "\n"
    found = launch(text).flags
    assert [f.value for f in found] == [w for w, _ in pairs]
    for flag in found:
        assert spanned(text, flag.source) == flag.source.text


@pytest.mark.skipif(not (SHARED / "faults").is_dir(), reason="the measured runs are not here")
def test_every_measured_script_is_read() -> None:
    paths = sorted(p for where in ("faults", "corpus") for p in (SHARED / where / "runs").rglob("*.sh"))
    assert paths
    for path in paths:
        found = list(shell(File(path.parent, path.name)))
        assert found, path
        content = path.read_bytes()
        for flag in (f for one in found for f in one.flags):
            assert spanned(content, flag.source) == flag.source.text
            assert spanned(content, flag.at) == flag.name


def test_the_reader_takes_scripts() -> None:
    (found,) = [r for r in readers_in("mldiag.readers") if r.name == "shell"]
    assert all(found.takes(n) for n in ("run.sh", "a/b.bash", "job.slurm", "job.SBATCH"))
    assert not found.takes("run.py")
