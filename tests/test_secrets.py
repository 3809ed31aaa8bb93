"""What must not be told: keys, tokens and passwords that lie beside settings appear in no output."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from mldiag.cli import main
from mldiag.secrets import is_secret, masked

HIDDEN = "Zq9hidden7TxW"
OPENAI = f"sk-{HIDDEN}0123456789abcdef"
RUN = {
    ".env": f"WANDB_API_KEY={HIDDEN}\nDB_URL=postgres://u:{HIDDEN}@h/d\nLR=0.1\nOPENAI={OPENAI}\nnot an assignment "
    f"token={HIDDEN}\n",
    "config.json": f'{{"hidden_size": 100, "num_attention_heads": 3, "lr": 0.1, "api_key": "{HIDDEN}", '
    f'"keys": {{"openai": "{OPENAI}"}}, "api_tokens": ["{HIDDEN}"]}}',
    "config.yaml": f"lr: 0.2\nhf_token: {HIDDEN}\nurl: https://me:{HIDDEN}@host/x\nsecrets: {{a: {OPENAI}}}\n",
    "train.toml": f'lr = 0.3\nwandb_api_key = "{HIDDEN}"\n',
    "train.ini": f"[train]\nlr = 0.4\npassword = {HIDDEN}\n",
    "train.args": f"--lr\n0.5\n--hub_token\n{HIDDEN}\n",
    "train.sh": f"export HF_TOKEN={HIDDEN}\nWANDB_API_KEY={HIDDEN} python train.py --total_steps 100 --warmup_steps 90 "
    f"--api_key {HIDDEN} --hub_token={HIDDEN} auth.token={HIDDEN} {OPENAI} --lr 0.1\n",
    "broken.sh": f"python train.py --api_key {HIDDEN} ((((\n",
    "train.py": "import argparse\nimport torch\np = argparse.ArgumentParser()\n"
    f'p.add_argument("--api_key", default="{HIDDEN}")\np.add_argument("--lr", type=float, default=0.1)\n'
    "p.parse_args()\n",
    "train.log": f"Namespace(lr=0.1, api_key='{HIDDEN}')\nWANDB_API_KEY: {HIDDEN}\n"
    + "".join(f"step {n} loss {4 / n:.3f}\n" for n in range(1, 20)),
    "metrics.jsonl": '{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n{"token": "' + HIDDEN + "\n",
    "wandb/run-20240101_000000-abc/files/wandb-metadata.json": json.dumps(
        {
            "args": ["--lr", "0.1", "--api_key", HIDDEN],
            "program": "train.py",
            "git": {"remote": f"https://u:{HIDDEN}@h"},
        }
    ),
    "mlruns/0/r/meta.yaml": "artifact_uri: x\nrun_id: r\n",
    "mlruns/0/r/params/api_key": HIDDEN,
    "mlruns/0/r/params/lr": "0.1",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets") / "run"
    for name, content in RUN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    header = json.dumps({"__metadata__": {"hub_token": HIDDEN, "note": OPENAI}}).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)
    return folder


@pytest.mark.parametrize(
    "words",
    [
        ["check", "--verbose", "--show-skipped"],
        ["check", "--format", "json"],
        ["inspect"],
        ["inspect", "--format", "json"],
        *(["check", "--verbose", f"{{}}/{name}"] for name in RUN if "/" not in name),
        *(["inspect", "--format", "json", f"{{}}/{name}"] for name in RUN if "/" not in name),
    ],
    ids=" ".join,
)
def test_no_output_repeats_a_secret(words: list[str], run: Path) -> None:
    named = [word.format(run) for word in words]
    found = CliRunner().invoke(main, named if words != named else [*named, str(run)])
    assert found.exit_code in (0, 1, 2), found.output
    assert HIDDEN not in found.output
    assert len(found.output) > 50


def test_the_line_of_a_finding_is_shown_without_the_secret_beside_it(run: Path) -> None:
    shown = CliRunner().invoke(main, ["check", str(run / "config.json")], env={"COLUMNS": "400"}).output
    assert '"num_attention_heads": 3' in shown
    assert f'"api_key": "{"*" * len(HIDDEN)}"' in shown


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        ("lr: 3e-4  # token budget: 5", None),
        ("--max_tokens 100 --pad_token <pad> --lr 0.1", None),
        ("tokens_per_step = 4096", None),
        ("monkey=3 key=val", None),
        ("task-0123456789abcdefghijklmnop", None),
        ("API_KEY=abc python x.py", "API_KEY=*** python x.py"),
        ("API_KEY='a b' x", "API_KEY='***' x"),
        ('"secret": "abc', '"secret": "***'),
        ("--password 123 --lr 1", "--password *** --lr 1"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer *******"),
        ("redis://u:pw@host:1", "redis://u:**@host:1"),
    ],
)
def test_secrets_are_masked_and_the_rest_of_a_line_is_not(line: str, kept: str | None) -> None:
    assert masked(line) == (line if kept is None else kept)


@given(st.text("abKEY_token=:'\" -\n/@sk1.,{}", max_size=80))
def test_a_masked_line_is_as_long_and_differs_in_asterisks_only(line: str) -> None:
    found = masked(line)
    assert len(found) == len(line)
    assert all(a in (b, "*") for a, b in zip(found, line, strict=True))


@pytest.mark.parametrize("line", ["a" * 300_000, "a=" * 150_000, '"a' * 150_000, "--" * 150_000, "x://" * 80_000,
                                  ":" * 300_000, "a://b:" * 50_000, "sk-" * 100_000, "eyJ" * 100_000])  # fmt: skip
def test_masking_takes_time_in_proportion(line: str) -> None:
    import time

    started = time.perf_counter()
    masked(line)
    assert time.perf_counter() - started < 5


def test_lists_of_secrets_are_secrets() -> None:
    assert is_secret("api_keys", ("a", "b")) is is_secret("api_keys", "a")
    assert is_secret("anything", (1, OPENAI))
    assert not is_secret("betas", (0.9, 0.95))
