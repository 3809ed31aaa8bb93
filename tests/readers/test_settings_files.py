"""Files of settings: any bytes are read or refused, and a prefix keeps its whole lines."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from mldiag.artifacts import Series, SettingValue
from mldiag.errors import ReadError
from mldiag.files import File
from mldiag.readers import Read
from mldiag.readers._configs.arguments import style
from mldiag.readers._configs.settings import is_secret
from mldiag.readers.argfile import argfile
from mldiag.readers.catboost_training import catboost_training
from mldiag.readers.env_config import env_config
from mldiag.readers.evals_result import evals_result
from mldiag.readers.final_results import final_results
from mldiag.readers.ini_config import ini_config
from mldiag.readers.json_config import json_config
from mldiag.readers.monitor_csv import monitor_csv
from mldiag.readers.sacred_metrics import sacred_metrics
from mldiag.readers.shell import shell
from mldiag.readers.toml_config import toml_config
from mldiag.readers.yaml_config import yaml_config

READERS: dict[str, Read] = {
    "a.env": env_config, "a.ini": ini_config, "args.txt": argfile, "a.yaml": yaml_config, "a.toml": toml_config,
    "debug.json": json_config, "catboost_training.json": catboost_training, "evals.json": evals_result,
    "metrics.json": final_results, "monitor.csv": monitor_csv, "a.sh": shell, "sacred.json": sacred_metrics,
}  # fmt: skip
LINES = {
    "a.env": [b"LR=0.1\n", b"export SEED='3' # c\n", b"NAME=\"a b\"\n", b"EPOCHS=5\n"],
    "a.ini": [b"[train]\n", b"lr = 0.1\n", b"seed: 3 ; c\n", b"epochs = 5\n"],
    "args.txt": [b"--lr=0.1\n", b"--seed 3\n", b"--amp\n", b"--epochs=5\n"],
    "monitor.csv": [b'#{"t_start": 1.0}\n', b"r,l,t\n", b"1.0,10,0.5\n", b"2.0,20,1.0\n", b"3.0,5,1.5\n"],
}  # fmt: skip
TEXT = st.text(st.sampled_from("[]{}=:#;\"'-,.\\ \n\tabr01e@!|*&%${}<>"), max_size=80).map(str.encode)


def read(name: str, data: bytes) -> list[object]:
    found = []
    try:
        for artifact in READERS[name](File(Path("/nowhere"), name, data)):
            assert isinstance(artifact, Series | SettingValue) or name == "a.sh"
            found.append(artifact)
    except ReadError:
        pass
    for item in found:
        if isinstance(item, SettingValue) and item.source.start is not None and item.source.text is not None:
            codec = File(Path("/nowhere"), name, data).codec
            assert data[item.source.start : item.source.end].decode(codec) == item.source.text
    return found


@settings(max_examples=250)
@given(st.sampled_from(sorted(READERS)), st.binary(max_size=120) | TEXT)
def test_any_bytes_are_read_or_refused(name: str, data: bytes) -> None:
    with suppress(ReadError):
        if name == "args.txt" and not style(File(Path("/nowhere"), name, data)):
            return
    read(name, data)


@pytest.mark.parametrize("name", LINES)
def test_a_prefix_keeps_its_whole_lines(name: str) -> None:
    whole = b"".join(LINES[name])
    values = [str(getattr(a, "name", "")) for a in read(name, whole)]
    assert values
    for cut in range(len(whole)):
        lines = whole[:cut].count(b"\n")
        expected = read(name, b"".join(LINES[name][:lines]))
        got = read(name, whole[:cut])
        if name == "monitor.csv":
            for a, b in zip(expected, got, strict=False):
                assert isinstance(a, Series)
                assert isinstance(b, Series)
                assert list(b.data)[: len(a)] == list(a.data)
        else:
            assert got[: len(expected)] == expected


def test_a_megabyte_of_brackets_is_refused_or_read() -> None:
    for name in READERS:
        if name != "args.txt":
            read(name, b"[" * 2000 + b"{" * 2000)


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("wandb_api_key", True),
        ("hf_token", True),
        ("db.password", True),
        ("aws_secret_access_key", True),
        ("push_to_hub_token", True),
        ("pad_token", False),
        ("image_token", False),
        ("max_tokens", False),
        ("key_dim", False),
        ("monkey", False),
    ],
)
def test_a_secret_is_known_by_its_key(key: str, secret: bool) -> None:
    assert is_secret(key, "abc") is secret


def test_every_key_of_the_environment_is_a_secret_but_counts_are_not() -> None:
    assert is_secret("OPENAI_KEY", "abc", environment=True)
    assert is_secret("SOME_TOKEN", "abc", environment=True)
    assert is_secret("X", "postgres://me:pw@host/db", environment=True)
    assert is_secret("API_KEY", 12345, environment=True)
    assert is_secret("DB_PASSWORD", 12345)
    assert not is_secret("MAX_TOKENS", 5, environment=True)
    assert not is_secret("TOKENIZER", "bpe", environment=True)
