"""Images: classification under several schedules, segmentation, detection, contrastive learning, generation."""

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
    heavy_tailed,
    polynomial,
    relative,
    stepped,
)
from mldiag.run import Run


@family
def step_decay(rng: Random) -> Run:
    """A classifier whose rate falls to a tenth twice; both losses fall at those epochs, and slowly between them."""
    epochs, per_epoch, batch = rng.choice([30, 60, 90]), 390, 128
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    drops = (0.5, 0.75)
    classes = rng.choice([10, 100])
    start = math.log(classes)
    base, share_left = falling(start, 0.35 * start, 14), rng.uniform(0.5, 0.65)

    def loss(share: float) -> float:
        level = base(share)
        for at in drops:
            if share > at:
                level *= share_left + (1 - share_left) * math.exp(-(share - at) / 0.03)
        return level

    def accuracy(share: float) -> float:
        return 1 - (1 - 1 / classes) * math.pow(loss(share) / start, 0.8)

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.008)),
        log.evaluated("val/loss", lambda s: loss(s) * 1.03 + 0.01 * start, relative(rng, rng.uniform(0.01, 0.04))),
        log.logged("train/accuracy", accuracy, bounded(rng, 50000)),
        log.evaluated("val/accuracy", lambda s: accuracy(s) - 0.015, bounded(rng, 5000)),
        log.logged("lr", stepped(0.1, drops)),
        epochs=epochs, steps_per_epoch=per_epoch, batch_size=batch, train_windows=per_epoch * batch, lr=0.1,
        lr_schedule="multistep", optimizer="sgd", weight_decay=5e-4, num_classes=classes, seed=0,
    )  # fmt: skip


@family
def one_cycle(rng: Random) -> Run:
    """Up to a high rate for three tenths of the run and down to nearly nothing (Smith and Topin 2019)."""
    epochs, per_epoch, batch = rng.choice([10, 20, 30]), 200, 64
    steps = epochs * per_epoch
    log = Trainer(rng, steps, epochs, steps // 200, per_epoch)
    peak, low = 0.05, 0.002
    start = math.log(10)
    hill = rng.uniform(0.0, 0.12)

    def rate(share: float) -> float:
        up = share < 0.3
        u = share / 0.3 if up else (share - 0.3) / 0.7
        a, b = (low, peak) if up else (peak, low / 1e4)
        return b + (a - b) * (1 + math.cos(math.pi * u)) / 2

    def loss(share: float) -> float:
        # The high rate holds the loss up for a while.
        held = hill * math.exp(-(((share - 0.35) / 0.1) ** 2))
        return start * (0.12 + 0.88 * math.exp(-4 * share)) * (1 + held)

    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.02, 0.06))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.02, relative(rng, 0.015)),
        log.evaluated("val/accuracy", lambda s: 1 - 0.9 * loss(s) / start, bounded(rng, 10000)),
        log.logged("lr", rate),
        epochs=epochs, total_steps=steps, steps_per_epoch=per_epoch, lr=peak, lr_schedule="onecycle", optimizer="sgd",
        num_classes=10, batch_size=batch, train_windows=per_epoch * batch, seed=11,
    )  # fmt: skip


@family
def warm_restarts(rng: Random) -> Run:
    """Cosine with warm restarts, each twice as long: the loss goes up at each restart and then below where it was."""
    unit = rng.choice([5, 10])
    epochs = 7 * unit
    per_epoch = 100
    log = Trainer(rng, epochs * per_epoch, epochs, 50, per_epoch)
    ends = (1 / 7, 3 / 7, 1.0)
    begins = (0.0, *ends[:2])
    start, bump = math.log(100), rng.uniform(0.15, 0.3)
    base = falling(start, 0.9, rng.uniform(5, 8))

    def cycle(share: float) -> float:
        k = next(i for i, e in enumerate(ends) if share <= e)
        return (share - begins[k]) / (ends[k] - begins[k])

    def loss(share: float) -> float:
        high = 0.5 * (1 + math.cos(math.pi * cycle(share)))
        return base(share) * (1 + bump * high * (share > ends[0]))

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.012)),
        log.evaluated("val/loss", lambda s: loss(s) * 1.04, relative(rng, 0.01)),
        log.evaluated("val/accuracy", lambda s: 0.8 - 0.7 * (loss(s) - 0.9) / start, bounded(rng, 10000)),
        log.logged("lr", lambda s: 1e-5 + 0.05 * 0.5 * (1 + math.cos(math.pi * cycle(s)))),
        epochs=epochs, steps_per_epoch=per_epoch, lr=0.05, min_lr=1e-5, lr_schedule="cosine_with_restarts",
        optimizer="sgd", num_classes=100, seed=2,
    )  # fmt: skip


@family
def percent_accuracy(rng: Random) -> Run:
    """Accuracy is written in percent, for training and validation; the loss per epoch."""
    epochs, per_epoch = rng.choice([15, 25, 40]), rng.choice([98, 469])
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    start, end = math.log(10), rng.uniform(0.12, 0.4)
    loss = falling(start, end, rng.uniform(7, 14))

    def accuracy(share: float) -> float:
        return 100 * (1 - 0.9 * math.pow(loss(share) / start, 0.9))

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.01), digits=4),
        log.evaluated("val/loss", lambda s: loss(s) * 1.06, relative(rng, 0.015), digits=4),
        log.logged("train/accuracy", accuracy, bounded(rng, 60000, 100), digits=4),
        log.evaluated("val/accuracy", lambda s: accuracy(s) - 0.6, bounded(rng, 10000, 100), digits=4),
        epochs=epochs, steps_per_epoch=per_epoch, lr=1e-3, optimizer="adam", num_classes=10, batch_size=128, seed=1,
    )  # fmt: skip


@family
def label_smoothing(rng: Random) -> Run:
    """Label smoothing holds the train loss up at its floor; the validation loss is measured without it in some."""
    epochs, per_epoch, classes, smoothing = rng.choice([30, 50]), 250, 1000, 0.1
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    start = math.log(classes)
    # Entropy of the smoothed target: what no model can go below (Szegedy et al. 2016).
    on, off = 1 - smoothing + smoothing / classes, smoothing / classes
    floor = -on * math.log(on) - (classes - 1) * off * math.log(off)
    loss = falling(start, floor + rng.uniform(0.15, 0.4), rng.uniform(6, 10))
    plain = rng.random() < 0.5

    def held_out(share: float) -> float:
        return loss(share) - (0.55 * floor * (1 - loss(share) / start) if plain else -0.05)

    return finished(
        log.logged("train/loss", loss, relative(rng, 0.005)),
        log.evaluated("val/loss", held_out, relative(rng, 0.006)),
        log.evaluated("val/accuracy", lambda s: 0.78 * (1 - (loss(s) - floor) / (start - floor)), bounded(rng, 50000)),
        log.logged("lr", cosine(0.05, 0.5)),
        epochs=epochs, steps_per_epoch=per_epoch, lr=0.5, lr_schedule="cosine", warmup_ratio=0.05, optimizer="sgd",
        label_smoothing=smoothing, num_classes=classes, batch_size=1024, train_windows=per_epoch * 1024, seed=4,
    )  # fmt: skip


@family
def segmentation_dice(rng: Random) -> Run:
    """A negative Dice loss with a polynomial rate: everything is below zero, and lower is better."""
    epochs, per_epoch = rng.choice([100, 200]), 250
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    loss = falling(-0.05, -rng.uniform(0.82, 0.92), rng.uniform(5, 9))
    return finished(
        log.logged("train/loss", loss, relative(rng, 0.015), digits=4),
        log.evaluated("val/loss", lambda s: loss(s) * 0.96, relative(rng, 0.025), digits=4),
        log.evaluated("val/dice", lambda s: -loss(s) * 0.97, bounded(rng, 400), digits=4),
        log.logged("lr", polynomial(0.01, 0.9)),
        epochs=epochs, steps_per_epoch=per_epoch, lr=0.01, lr_schedule="polynomial", optimizer="sgd", batch_size=2,
        loss="dice", seed=12345,
    )  # fmt: skip


@family
def segmentation_iou(rng: Random) -> Run:
    """Cross-entropy over pixels with mean IoU, evaluated every few epochs."""
    epochs, per_epoch = 60, 150
    log = Trainer(rng, epochs * per_epoch, epochs, 45, 5 * per_epoch)
    start = math.log(19)
    loss = falling(start, rng.uniform(0.2, 0.35), rng.uniform(8, 14))
    return finished(
        log.logged("train/loss", loss, relative(rng, rng.uniform(0.05, 0.12))),
        log.evaluated("val/loss", lambda s: loss(s) * 1.08, relative(rng, 0.02)),
        log.evaluated("val/mean_iou", lambda s: 0.75 * (1 - math.exp(-6 * s)), bounded(rng, 500)),
        log.logged("lr", polynomial(0.01, 0.9)),
        *log.runtime(speed=60.0, memory=9.5),
        epochs=epochs, steps_per_epoch=per_epoch, total_steps=epochs * per_epoch, lr=0.01, lr_schedule="poly",
        optimizer="sgd", num_classes=19, batch_size=8, train_windows=8 * per_epoch, seed=9,
    )  # fmt: skip


@family
def detection(rng: Random) -> Run:
    """A loss of three parts of which none drowns the others, and average precision that rises."""
    epochs, per_epoch = rng.choice([50, 100]), 180
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch, per_epoch)
    parts = {
        "box": falling(0.11, 0.035, rng.uniform(5, 9)),
        "cls": falling(0.06, 0.012, rng.uniform(5, 9)),
        "obj": falling(0.08, 0.03, rng.uniform(3, 6)),
    }
    train = {name: log.logged(f"train/loss/{name}", level, relative(rng, 0.02)) for name, level in parts.items()}
    val = {
        name: log.evaluated(f"val/loss/{name}", lambda s, level=level: level(s) * 1.08, relative(rng, 0.03))  # type: ignore[misc]
        for name, level in parts.items()
    }
    totals = [
        log.written(log.rows, f"{split}/loss", [sum(v) for v in zip(*(s.data for s in found.values()), strict=True)])
        for split, found in (("train", train), ("val", val))
    ]
    return finished(
        *totals,
        *train.values(),
        *val.values(),
        log.evaluated("val/map50", lambda s: 0.62 * (1 - math.exp(-5 * s)), bounded(rng, 800)),
        log.evaluated("val/map50_95", lambda s: 0.41 * (1 - math.exp(-4 * s)), bounded(rng, 800)),
        log.logged("lr", cosine(0.03, 0.01, 1e-4)),
        epochs=epochs, steps_per_epoch=per_epoch, lr=0.01, lr_schedule="cosine", warmup_ratio=0.03, optimizer="sgd",
        num_classes=20, batch_size=16, train_windows=16 * per_epoch, seed=0,
    )  # fmt: skip


@family
def contrastive(rng: Random) -> Run:
    """InfoNCE from ln of the batch down to a floor that is far from zero; a probe's accuracy rises."""
    epochs, per_epoch, batch = rng.choice([40, 80]), 100, 512
    log = Trainer(rng, epochs * per_epoch, epochs, per_epoch // 4, 2 * per_epoch)
    start = math.log(2 * batch - 1)
    loss = falling(start, rng.uniform(3.6, 4.6), rng.uniform(5, 10))
    return finished(
        log.logged("train/loss", loss, relative(rng, 0.01)),
        log.evaluated("val/loss", lambda s: loss(s) * 1.01, relative(rng, 0.006)),
        log.evaluated("val/accuracy", lambda s: 0.2 + 0.55 * (1 - math.exp(-4 * s)), bounded(rng, 10000)),
        log.logged("lr", cosine(0.1, 0.3)),
        log.norms(1.2, 0.5),
        epochs=epochs, steps_per_epoch=per_epoch, lr=0.3, lr_schedule="cosine", warmup_ratio=0.1, optimizer="lars",
        batch_size=batch, train_windows=batch * per_epoch, seed=8,
    )  # fmt: skip


@family
def adversarial(rng: Random) -> Run:
    """A generator against a discriminator: their losses swing about levels that mean nothing, the distance falls."""
    steps = rng.choice([2000, 5000])
    log = Trainer(rng, steps, 0, steps // 200, steps // 20)
    swing = rng.uniform(0.1, 0.3)

    def generator(share: float) -> float:
        return 0.9 + 0.6 * share + swing * math.sin(40 * share)

    return finished(
        log.logged("train/loss/g", generator, relative(rng, 0.15)),
        log.logged("train/loss/d", lambda s: 1.2 - 0.4 * s - 0.5 * swing * math.sin(40 * s), relative(rng, 0.12)),
        log.evaluated("val/fid", falling(280, rng.uniform(20, 45), 5), relative(rng, 0.04)),
        log.logged("lr", constant(1e-9, 2e-4)),
        total_steps=steps, lr=2e-4, optimizer="adam", batch_size=64, seed=999,
    )  # fmt: skip


@family
def diffusion(rng: Random) -> Run:
    """Noise prediction: the loss is soon down to what the data allows and wavers there; the samples get better."""
    steps = 4000
    log = Trainer(rng, steps, 0, 20, 200)
    loss = falling(1.0, rng.uniform(0.02, 0.05), rng.uniform(15, 40), 0.9)
    return finished(
        log.logged("train/loss", loss, heavy_tailed(rng, 0.12)),
        log.evaluated("val/loss", lambda s: loss(s) * 1.01, relative(rng, 0.02)),
        log.evaluated("val/fid", falling(250, 12, 4), relative(rng, 0.03)),
        log.logged("lr", constant(0.02, 1e-4)),
        log.norms(0.6, 0.15, sigma=0.5),
        total_steps=steps, warmup_steps=80, lr=1e-4, lr_schedule="constant_with_warmup", optimizer="adamw", seed=21,
        batch_size=128, clip_norm=1.0,
    )  # fmt: skip
