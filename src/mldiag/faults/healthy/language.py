"""Language models: pretraining, a log of every step, fine-tuning, translation, a curriculum."""

from __future__ import annotations

import math
from random import Random

from mldiag.faults.healthy import family
from mldiag.faults.healthy._trainer import (
    Trainer,
    bounded,
    constant,
    cosine,
    falling,
    finished,
    inverse_root,
    linear,
    relative,
)
from mldiag.run import Run


@family
def pretraining(rng: Random) -> Run:
    """A language model from scratch: cosine with a short warm-up, less than one epoch, evaluation every so often."""
    vocabulary, windows, batch = 50257, 4_000_000, 512
    steps = rng.choice([2000, 4000, 6000])
    log = Trainer(rng, steps, 0, steps // 200, steps // 20)
    warmup = rng.uniform(0.01, 0.05)
    peak = rng.choice([3e-4, 6e-4])
    end = rng.uniform(2.9, 3.6)
    loss = falling(math.log(vocabulary) + 0.1, end, rng.uniform(40, 120), 0.6)
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.004, 0.015))),
        log.evaluated("val/loss", lambda s: loss(s) + 0.03, relative(rng, 0.002)),
        log.logged("lr", cosine(warmup, peak, 0.1 * peak)),
        log.norms(2.0, 0.4),
        *log.runtime(speed=rng.uniform(5e4, 4e5), memory=rng.uniform(20, 70)),
        total_steps=steps, warmup_steps=round(warmup * steps), lr=peak, min_lr=0.1 * peak, lr_schedule="cosine",
        optimizer="adamw", weight_decay=0.1, clip_norm=1.0, vocab_size=vocabulary, batch_size=batch, seq_len=1024,
        train_windows=windows, seed=1, num_parameters=124_000_000,
    )  # fmt: skip


@family
def every_step_logged(rng: Random) -> Run:
    """A small model that logs every step and evaluates rarely; a constant rate after a warm-up."""
    steps = rng.choice([1500, 2500])
    log = Trainer(rng, steps, 0, 1, steps // rng.choice([5, 8]))
    loss = falling(math.log(65), rng.uniform(1.3, 1.6), rng.uniform(5, 12))
    warmup = rng.uniform(0.01, 0.05)
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.02, 0.05))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.03, relative(rng, 0.004)),
        log.logged("lr", constant(warmup, 1e-3)),
        log.norms(1.5, 0.7),
        total_steps=steps, warmup_steps=round(warmup * steps), lr=1e-3, lr_schedule="constant_with_warmup",
        optimizer="adamw", vocab_size=65, seq_len=256, batch_size=64, clip_norm=1.0, seed=1337,
    )  # fmt: skip


@family
def fine_tuning(rng: Random) -> Run:
    """A pretrained model on a few epochs with dropout: the validation loss lies a little below the train loss."""
    epochs, per_epoch, batch = rng.choice([3, 4]), rng.choice([120, 300, 500]), 16
    steps = epochs * per_epoch
    log = Trainer(rng, steps, epochs, max(1, steps // 100), per_epoch // rng.choice([1, 2, 4]))
    start, end = math.log(3), rng.uniform(0.35, 0.6)
    loss = falling(start, end, rng.uniform(3, 7))
    below = rng.uniform(0.92, 0.99)
    peak, warmup = rng.choice([2e-5, 3e-5, 5e-5]), 0.06
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.03, 0.1))),
        log.evaluated("val/loss", lambda s: loss(s) * below, relative(rng, 0.008)),
        log.evaluated("val/accuracy", lambda s: 0.88 - 0.5 * (loss(s) - end) / (start - end), bounded(rng, 2000)),
        log.logged("lr", linear(warmup, peak)),
        log.norms(6.0, 4.0, sigma=0.4),
        epochs=epochs, total_steps=steps, steps_per_epoch=per_epoch, warmup_ratio=warmup, lr=peak, lr_schedule="linear",
        optimizer="adamw", dropout=0.1, num_classes=3, batch_size=batch, train_windows=per_epoch * batch, seed=42,
        weight_decay=0.01, clip_norm=1.0,
    )  # fmt: skip


@family
def translation(rng: Random) -> Run:
    """An encoder-decoder with an inverse-square-root rate and label smoothing, evaluated with its score."""
    epochs, per_epoch = rng.choice([10, 20]), rng.choice([200, 400])
    steps = epochs * per_epoch
    log = Trainer(rng, steps, epochs, steps // 200, per_epoch)
    start, end = math.log(32000) + 0.2, rng.uniform(3.2, 3.6)
    loss = falling(start, end, rng.uniform(10, 18), 1.2)
    warmup = rng.uniform(0.04, 0.09)
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.01, 0.03))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.02, relative(rng, 0.004)),
        log.evaluated("val/bleu", lambda s: 29 * (1 - math.exp(-5 * s)), lambda v: v + rng.gauss(0, 0.25)),
        log.logged("lr", inverse_root(warmup, 7e-4)),
        log.norms(3.0, 0.8),
        *log.runtime(speed=4e4, memory=14.0),
        epochs=epochs, total_steps=steps, steps_per_epoch=per_epoch, warmup_steps=round(warmup * steps), lr=7e-4,
        lr_schedule="inverse_sqrt", optimizer="adam", label_smoothing=0.1, vocab_size=32000, dropout=0.3, seed=7,
    )  # fmt: skip


@family
def curriculum(rng: Random) -> Run:
    """Harder data comes in at two points: both losses jump up there and go on falling below where they were."""
    steps = 3000
    log = Trainer(rng, steps, 0, 15, 100)
    jumps = (rng.uniform(0.25, 0.35), rng.uniform(0.55, 0.65))
    smooth = falling(9.0, 2.6, rng.uniform(4, 6))

    def loss(share: float) -> float:
        up = sum(0.5 * math.exp(-(share - at) / 0.08) for at in jumps if share >= at)
        return smooth(share) + up

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.01)),
        log.evaluated("val/loss", lambda s: loss(s) + 0.05, relative(rng, 0.003)),
        log.logged("lr", cosine(0.03, 4e-4, 4e-5)),
        log.norms(1.8, 0.5),
        total_steps=steps, warmup_steps=90, lr=4e-4, min_lr=4e-5, lr_schedule="cosine", optimizer="adamw",
        vocab_size=8000, seed=3, curriculum=True, clip_norm=1.0,
    )  # fmt: skip


@family
def resumed(rng: Random) -> Run:
    """A run that was taken up again with its counter, its rate and its weights: only the clock has a gap."""
    steps, epochs = 4000, 8
    log = Trainer(rng, steps, epochs, 20, 250)
    loss = falling(math.log(10000), rng.uniform(3.6, 4.2), rng.uniform(6, 10))
    at = rng.uniform(0.3, 0.7)
    slower = rng.uniform(0.9, 1.1)

    def loss_again(share: float) -> float:
        # The optimizer's moments settle again within a few steps.
        return loss(share) * (1 + (0.01 * math.exp(-(share - at) / 0.01) if share >= at else 0.0))

    speed, *runtime = log.runtime(speed=9e4, memory=31.0)
    speeds = [v * (slower if k / len(speed) > at else 1) for k, v in enumerate(speed.data)]
    return finished(
        log.logged("train/loss", loss_again, relative(rng, 0.015)),
        log.evaluated("val/loss", lambda s: loss(s) * 1.01, relative(rng, 0.003)),
        log.logged("lr", linear(0.02, 5e-4)),
        log.written(log.rows, "tokens_per_s", speeds),
        *runtime,
        epochs=epochs, total_steps=steps, steps_per_epoch=500, warmup_steps=80, lr=5e-4, lr_schedule="linear",
        optimizer="adamw", vocab_size=10000, seed=5, resume_from="checkpoint-2000",
    )  # fmt: skip
