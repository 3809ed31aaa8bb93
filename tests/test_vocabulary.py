"""Spellings found in the wild and the canonical names they get."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from mldiag.vocabulary import SETTINGS, Vocabulary, series_name

WORDS = Vocabulary()


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("loss", "train/loss"),
        ("val_loss", "val/loss"),
        ("eval_loss", "val/loss"),
        ("valid/loss", "val/loss"),
        ("train/loss", "train/loss"),
        ("loss/train", "train/loss"),
        ("Train Loss", "train/loss"),
        ("train_loss_epoch", "train/loss"),
        ("val_acc", "val/accuracy"),
        ("sparse_categorical_accuracy", "train/accuracy"),
        ("test-accuracy", "test/accuracy"),
        ("learning_rate", "lr"),
        ("grad_norm", "grad_norm"),
        ("tok_per_s", "tokens_per_s"),
        ("loss_cls", "train/loss/cls"),
        ("eval_loss_cls", "val/loss/cls"),
        ("val_mean_iou", "val/mean_iou"),
        ("avg_val_loss", "val/loss"),
        ("best_val_loss", "val/best_loss"),
        ("epoch_loss", "train/loss"),
        ("loss_scale", "train/loss_scale"),
        ("train/learning_rate", "lr"),
        ("lr-AdamW", "lr"),
        ("lr-AdamW/pg2", "lr_adamw_pg2"),
        ("metrics/precision", "val/precision"),
        ("perda de treino", "train/loss"),
        ("perda_validação", "val/loss"),
        ("taxa_aprendizado", "lr"),
        ("system.cpu", "system/cpu"),
    ],
)
def test_a_series_gets_its_canonical_name(raw: str, name: str) -> None:
    assert series_name(raw) == name


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("seq_len", "seq_len"),
        ("max-seq-length", "seq_len"),
        ("model.max_position_embeddings", "max_positions"),
        ("optimizer.lr", "lr"),
        ("train/lr0", "lr"),
        ("per_device_train_batch_size", "batch_size"),
        ("favourite_colour", None),
        ("eval.batch_size", None),
        ("validation_ds.batch_size", None),
    ],
)
def test_a_setting_gets_its_canonical_name(key: str, name: str | None) -> None:
    assert WORDS.setting(key) == name


def test_no_spelling_stands_for_two_settings() -> None:
    seen: dict[str, str] = {}
    for name, aliases in SETTINGS.items():
        for alias in (name, *aliases):
            assert seen.setdefault(alias, name) == name, f"{alias} is both {seen[alias]} and {name}"


def test_a_plugin_adds_spellings_but_takes_none_over() -> None:
    extended = WORDS.extended({"seq_len": ["laenge"], "colour": ["lr", "farbe"]})
    assert extended.setting("laenge") == "seq_len"
    assert extended.setting("farbe") == "colour"
    assert extended.setting("lr") == "lr"


@given(st.text(max_size=40))
def test_any_text_has_a_series_name(raw: str) -> None:
    assert series_name(raw)


@given(
    st.sampled_from(["train", "val", "test"]),
    st.sampled_from(["loss", "accuracy", "perplexity", "loss/bce", "ndcg@10"]),
)
def test_a_canonical_name_keeps_its_name(split: str, quantity: str) -> None:
    assert series_name(f"{split}/{quantity}") == f"{split}/{quantity}"
