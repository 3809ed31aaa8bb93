"""Spellings found in the wild and the canonical names they get."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from mldiag.vocabulary import Vocabulary, axis, is_metric, series_name, split_of, unit_of
from mldiag.words import SETTINGS, TRANSLATED

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
        # Splits, wherever they stand.
        ("valLoss", "val/loss"),
        ("trainAcc", "train/accuracy"),
        ("lossval", "val/loss"),
        ("loss_train_epoch", "train/loss"),
        ("total_val_loss", "val/loss"),
        ("Average Evaluation Loss", "val/loss"),
        ("train/val_loss", "val/loss"),
        ("eval_test_loss", "test/loss"),
        ("eval_train_loss", "train/evaluated_loss"),
        ("dev_f1", "val/f1"),
        ("predict_rouge-1", "test/rouge_1"),
        ("std_dev", "train/std_dev"),
        ("value_loss", "train/loss/value"),
        ("interval", "train/interval"),
        # Frameworks.
        ("metrics/mAP50(B)", "val/map50"),
        ("metrics/mAP50-95(M)", "val/map50_95_mask"),
        ("metrics/mAP_0.5:0.95", "val/map50_95"),
        ("metrics/train_loss", "train/loss"),
        ("x/lr0", "lr"),
        ("lr/pg2", "lr_pg2"),
        ("bbox/AP50", "val/bbox_ap50"),
        ("decode.loss_ce", "train/loss/decode_ce"),
        ("lm-loss-validation/lm loss validation", "val/loss"),
        ("validation_0-logloss", "val/loss"),
        ("valid_1's binary_logloss", "val/loss"),
        ("validation_1-logloss", "val/1_loss"),
        ("val_loss/dataloader_idx_0", "val/loss"),
        ("train_auroc_step", "train/auroc"),
        ("epoch_time", "epoch_time"),
        ("evaluation_loss_vs_iterations", "val/loss"),
        ("rollout/ep_rew_mean", "train/reward"),
        ("data/train_loss", "train/loss"),
        ("data/val_acc", "val/accuracy"),
        ("data/time", "data_time"),
        ("train/data_loss", "train/loss/data"),
        ("learn/MultiClass", "train/loss"),
        ("charts/episodic_return", "train/reward"),
        ("AverageReturn", "train/reward"),
        ("losses/value_loss", "train/loss/value"),
        ("final val_loss", "val/final_loss"),
        ("val_mean_squared_error", "val/mse"),
        ("Prec@1", "train/accuracy"),
        ("acc (%)", "train/accuracy"),
        ("val_acc_pct", "val/accuracy"),
        # Other languages.
        ("pérdida de validación", "val/loss"),
        ("perte d'entraînement", "train/loss"),
        ("Validierungsverlust", "val/loss"),
        ("Testgenauigkeit", "test/accuracy"),
        ("训练损失", "train/loss"),
        ("验证集准确率", "val/accuracy"),
        ("学习率", "lr"),
        ("検証損失", "val/loss"),
        ("검증 손실", "val/loss"),
        ("потери на валидации", "val/loss"),
        ("entropía", "train/entropia"),
        ("未知", "train/未知"),
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
        ("batchSize", "batch_size"),
        ("trainer.numEpochs", "epochs"),
        ("SOLVER.BASE_LR", "lr"),
        ("TEST.EVAL_PERIOD", "eval_every"),
        ("training.steps", "total_steps"),
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


@given(
    st.sampled_from(
        [[], ["train"], ["val"], ["eval"], ["metrics"], ["losses"], ["bbox"], ["best"], ["epoch"], ["损失"]]
    ),
    st.sampled_from([[], ["mean"], ["test"], ["dev"], ["2"], ["running"]]),
    st.sampled_from(
        ["loss", "acc", "lr", "bce_loss", "ep_rew_mean", "AP50", "auroc", "verlust", "top5", "mAP_0.5", "x"]
    ),
    st.sampled_from([[], ["epoch"], ["step"], ["val"], ["std"], ["0"]]),
    st.sampled_from(["/", "_", " "]),
)
def test_the_name_of_a_name_is_itself(
    first: list[str], second: list[str], quantity: str, last: list[str], joint: str
) -> None:
    name = series_name(joint.join([*first, *second, quantity, *last]))
    assert series_name(name) == name


@pytest.mark.parametrize(
    ("raw", "unit"),
    [
        ("acc (%)", "percent"),
        ("acc_pct", "percent"),
        ("loss (nats)", "nats"),
        ("val_bpb", "bits"),
        ("bits_per_char", "bits"),
        ("step_ms", "ms"),
        ("time (s)", "s"),
        ("time_this_iter_s", "s"),
        ("epoch_seconds", "s"),
        ("tok/s", "tokens/s"),
        ("eval_samples_per_second", "samples/s"),
        ("it/s", "steps/s"),
        ("gpu_mem (GB)", "GB"),
        ("loss", None),
        ("s", None),
        ("loss_min", None),
        ("classes", None),
    ],
)
def test_a_name_says_its_unit(raw: str, unit: str | None) -> None:
    assert unit_of(raw) == unit


@given(st.text(max_size=40))
def test_any_text_can_be_asked(raw: str) -> None:
    axis(raw), split_of(raw), is_metric(raw), unit_of(raw), WORDS.setting(raw)


def test_no_word_of_another_language_has_two_meanings() -> None:
    seen: dict[str, str] = {}
    for english, foreign in TRANSLATED.items():
        for word in foreign:
            assert seen.setdefault(word, english) == english, f"{word} is both {seen[word]} and {english}"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Época", "epoch"),
        ("轮次", "epoch"),
        ("globalStep", "step"),
        ("Schritt", "step"),
        ("time (s)", "time"),
        ("loss", None),
    ],
)
def test_a_column_that_counts_is_known(name: str, kind: str | None) -> None:
    assert axis(name) == kind
