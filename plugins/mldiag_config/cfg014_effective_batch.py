"""CFG014: the stated batch of a step is not what micro-batch, accumulation and devices come to."""

from __future__ import annotations

from collections.abc import Iterator

from mldiag.api import (
    Evidence,
    Finding,
    Fix,
    NotApplicable,
    Role,
    Settings,
    SettingValue,
    as_count,
    edit_setting,
    rule,
)

# Keys that say that a batch is one device's; plain `batch_size` may as well be that of all.
_OF_A_DEVICE = frozenset({
    "micro_batch_size", "per_device_train_batch_size", "per_gpu_train_batch_size", "train_micro_batch_size_per_gpu",
    "local_batch_size", "device_batch_size", "per_device_batch_size", "batch_size_per_gpu", "samples_per_gpu",
    "device_train_microbatch_size",
})  # fmt: skip
_SPLIT_MODELS = (
    "tensor_parallel", "pipeline_parallel", "context_parallel", "model_parallel", "sequence_parallel",
    "expert_parallel", "tp_size", "pp_size", "cp_size",
)  # fmt: skip
_DEGREES = ("tensor", "pipeline", "context", "tp_", "pp_", "cp_")


@rule("CFG014", severity="warning", pre=True)
def effective_batch(settings: Settings, *, min_tokens: int = 32_768) -> Iterator[Finding]:
    """The stated batch of an optimizer step is not what micro-batch, accumulation and devices come to.

    ## What it checks
    A stated batch of all devices (DeepSpeed's `train_batch_size`, Megatron's and torchtitan's `global_batch_size`,
    `total_batch_size`, Hugging Face's "Total train batch size", nanoGPT's "tokens per iteration") against micro-batch
    × accumulation × devices. With all three stated the two must be equal; with some unknown, the stated batch must be
    a multiple of the product of the known ones. Of a model that is split over devices (tensor, pipeline and context
    parallel) the replicas count, not the devices. A batch from `min_tokens` on counts tokens where the sequence
    length is known. A plain `batch_size` may be that of a device or of all; only a contradiction in both readings is
    reported.

    ## Why it matters
    DeepSpeed and Megatron refuse to start. Other programs train with another batch than was meant: fewer processes than
    the script asked for, or an accumulation that divides with a remainder, and the learning rate belongs to another
    batch.

    ## Inputs
    Settings `global_batch_size`, `tokens_per_step`, `batch_size`, `grad_accum`, `devices`, `seq_len`, also from the
    launcher's flags (`--nproc_per_node`) and the log's header.

    ## Options
    `min_tokens` (default 32,768 tokens: batches of so many sequences are rarer than sequences of 8 × 4,096 tokens).

    ## Fix
    Unsafe: the stated batch is set to the product, where all of it is known. What was meant may be the other number.

    ## When to ignore
    Devices of which some only hold parts of the model, where no setting says so.

    ## Source
    DeepSpeed's configuration documentation, "train_batch_size must be equal to train_micro_batch_size_per_gpu ×
    gradient_accumulation_steps × number of GPUs"; nanoGPT `train.py`. None of 380 labelled runs that is healthy.
    """
    stated = [*settings.all("global_batch_size"), *settings.all("tokens_per_step")]
    stated = [v for v in stated if as_count(v.value) is not None and v.role is not Role.DEFAULT]
    if not stated:
        raise NotApplicable("nothing states the batch of all devices")
    micro = _micro(settings)
    if micro is None:
        raise NotApplicable("nothing states the batch of one device")
    sure = micro.key in _OF_A_DEVICE
    accumulation, devices = _given(settings, "grad_accum"), _given(settings, "devices")
    length = _given(settings, "seq_len")
    splits = [n for n in settings.by_name if any(w in n.lower() for w in _SPLIT_MODELS) and _many(settings, n)]
    replica = _replica(settings, splits, devices)
    seen = set()
    for total in stated:
        count = _count(total)
        tokens = length is not None and (
            total.name == "tokens_per_step" or (count >= min_tokens and _count(micro) < count)
        )
        lengths = [length] if tokens and length is not None else []
        parts = [micro, *filter(None, (accumulation, devices if replica == 1 else None)), *lengths]
        if count in seen or total in parts or (total.name == "tokens_per_step" and not tokens):
            continue
        seen.add(count)
        if not sure:
            # The product without the devices, which plain `batch_size` may already hold, and without the accumulation,
            # which nanoGPT counts over all devices.
            parts = [micro, *lengths]
        replicas = _count(devices) // replica if sure and devices is not None and replica > 1 else 1
        product = replicas
        for part in parts:
            product *= _count(part)
        whole = sure and accumulation is not None and devices is not None and not splits
        if count == product if whole else count % product == 0:
            continue
        written = [f"{_count(p):,} ({_NAMES[p.name]})" for p in parts]
        if replicas > 1:
            written.insert(1, f"{replicas:,} (replicas of {replica:,} devices each)")
        terms = " × ".join(written)
        unit = "tokens" if tokens else "sequences" if length is not None else "examples"
        over = count % product
        problem = f"is {product:,}" if whole else f"is {product:,}, of which it is no multiple: {over:,} are left over"
        yield Finding(
            f"the batch of a step is stated as {count:,} {unit} ({total.source}), but {terms} {problem}",
            at=total.source,
            evidence=(
                Evidence("stated batch", count, product if whole else None, total.source, unit),
                *(Evidence(_NAMES[p.name], _count(p), at=p.source) for p in parts),
                *(_of_replicas(devices, replica, replicas) if devices is not None and replicas > 1 else ()),
                Evidence("product", product, unit=unit),
                *(() if whole else (Evidence("left over", over, 0, unit=unit),)),
            ),
            fix=_fix(total, count, product, whole=whole),
        )
        return


_NAMES = {
    "batch_size": "micro-batch",
    "grad_accum": "accumulation",
    "devices": "devices",
    "seq_len": "tokens of a sequence",
}


def _fix(total: SettingValue, count: int, product: int, *, whole: bool) -> Fix:
    if whole:
        return Fix.unsafe(f"set {total.key} to {product:,}", edit_setting(total, product))
    nearest = max(1, round(count / product)) * product
    return Fix.unsafe(f"set {total.key} to {nearest:,}", edit_setting(total, nearest))


def _micro(settings: Settings) -> SettingValue | None:
    """The batch of one device: a value whose key says so, else the one that takes effect."""
    found = [v for v in settings.all("batch_size") if as_count(v.value) is not None]
    named = [v for v in found if v.key in _OF_A_DEVICE]
    best = [v for v in named if v.rank == named[0].rank]
    if len({v.value for v in best}) == 1:
        return best[0]
    return None if named or "batch_size" in settings.ambiguous else next(iter(found), None)


def _given(settings: Settings, name: str) -> SettingValue | None:
    """A count that was given for this run, not the default of a program that may compute it."""
    value = settings.effective(name)
    return value if value is not None and as_count(value.value) is not None and value.role is not Role.DEFAULT else None


def _replica(settings: Settings, splits: list[str], devices: SettingValue | None) -> int:
    """Devices that hold one copy of the model; 0 where a split has no size, or not one that the devices allow."""
    replica = 1
    for name in splits:
        degree = as_count(settings.get(name))
        if degree is None or not any(word in name.lower() for word in _DEGREES):
            return 0
        replica *= degree
    return replica if devices is None or _count(devices) % replica == 0 else 0


def _of_replicas(devices: SettingValue, replica: int, replicas: int) -> tuple[Evidence, ...]:
    return (
        Evidence("devices", _count(devices), at=devices.source),
        Evidence("devices of a replica", replica),
        Evidence("replicas", replicas),
    )


def _many(settings: Settings, name: str) -> bool:
    value = settings.get(name)
    return value is True or (as_count(value) or 0) > 1


def _count(value: SettingValue) -> int:
    return as_count(value.value) or 0
