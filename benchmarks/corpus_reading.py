"""Whether every labelled run opens, with the points and the validation that its manifest counts.

    corpus_reading.py CORPUS [--format NAME] [--all]

CORPUS holds `manifest.jsonl` (id, format, n_points: length of the longest series, has_val) and `runs/<id>/`. Prints
each run that differs, and what was read; exit 1 below the shares the project asks for. The manifest was counted by a
quick parser: where it is wrong, `KNOWN` says so and why.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from mldiag.audit import Request, read_runs
from mldiag.plugins import Plugins, load
from mldiag.run import Run

OPENED = 240 / 246
AGREEING = 0.95
TOLERANCE = 0.05

_CRASHED = "it ended before the first value was logged; the manifest counts other numbers of its output"
_AP = "average precision is measured on held-out data; the manifest looks for the word val"
_ADDED_UP = "the manifest adds up the lines of training and of validation"
_OTHER_NUMBERS = "every line with a loss is read; the manifest counts other numbers of the output"
_HELD_OUT = "it evaluates after each epoch, under a heading that the manifest does not know"
_BARS = "the manifest counts the states of progress bars of one evaluation; its scores are of held-out data"

KNOWN: dict[str, str] = {
    "hydra-aronnepiperno-fewshot-01": "configuration only; the manifest counts numbers of the printed tree",
    "hydra-aronnepiperno-fewshot-07": "configuration only; the manifest counts numbers of the printed tree",
    "hydra-aronnepiperno-fewshot-08": "configuration only; the manifest counts numbers of the printed tree",
    "history-480284856-rlhf-training-01": "a table without names of columns",
    "rlprogress-theling-optiongan-01": "rows and header are broken over two lines; it is told as of no known format",
    "rlprogress-gbencheikh-rl-job-shop-problem-01": "value_loss, a part of the training loss, is no validation",
    "history-crazedcodernat-bioclip-mobile-distill-01": "val_cos is a validation",
    "llamafactory-gi7014-sunxiaochuan-v1-01": "predict_results.json holds scores of held-out data",
    "detectron2-buaazhanghaona-mgm-mask2former-01": _AP,
    "detectron2-ghailen-ben-ac-detectron2-detection-01": _AP,
    "detectron2-k-merrick-water-meters-01": _AP,
    "history-bzx667-hyper-cdr-01": "two domains with a loss each; the manifest adds up their lines, 2,207 and 198",
    "tensorboard-10tanmay100-deepcnnclassifier-02": "a point in each of train and validation; it adds them up",
    "nnunet-mizgithub-nnunettrainerv2bratsre-01": _CRASHED,
    "nnunet-mizgithub-result-of-extending-nn-01": _CRASHED,
    "nnunet-mizgithub-result-of-extending-nn-02": _CRASHED,
    "nnunet-mizgithub-result-of-extending-nn-03": _CRASHED,
    "tensorboard-jinhxu-speaker-verification-01": "hp_metric of -1 is Lightning's placeholder, and no series",
    "tensorboard-jinhxu-speaker-verification-02": "70 losses; the manifest counts the 75 values of the tag `epoch`",
    "text-1644heihei-kaggle-predict-custome-01": _CRASHED,
    "text-1644heihei-kaggle-predict-custome-02": _CRASHED,
    "text-aap16403-transition-state-04": _CRASHED,
    "text-pytorch-torchtitan-04": _CRASHED,
    "text-pytorch-torchtitan-14": _CRASHED,
    "wandb-alyssajz-sweetberry-01": _CRASHED,
    "wandb-aaronluo-ai-response-prediction-ls-01": _CRASHED,
    "text-ange339-graph-neural-network-01": _CRASHED,
    "text-ange339-graph-neural-network-02": "no epoch was trained; one line tells the best model of epoch 0",
    "text-anudeepreddy-k-cifar10-01": "a test run that found no checkpoint",
    "text-amindtothink-icl-diversity-03": "it scores prompts and trains nothing",
    "text-abhiswain97-leaf-disease-detection-01": "it prepares a data set and trains nothing",
    "text-abhiswain97-leaf-disease-detection-04": "it prepares a data set and trains nothing",
    "text-2014vee-ssd-pytorch-01": _OTHER_NUMBERS,
    "text-2014vee-ssd-pytorch-02": _OTHER_NUMBERS,
    "text-aap16403-transition-state-01": "one epoch in UTF-16, with a column of validation losses",
    "text-aap16403-transition-state-03": "one epoch in UTF-16, with a column of validation losses",
    "text-alexpop104-rgcnn-git-01": "78 lines of losses without line ends; the manifest finds five",
    "text-akhil-2709-propaganda-detection-t-02": "ten rows; the manifest counts the header as well",
    "text-anshdhalla1-pytorch-finetune-gpt2-01": _HELD_OUT,
    "text-b777b2056-2-machine-translation-en-01": _OTHER_NUMBERS,
    "text-bingzhewu-ssd-sign-01": "three quantities of a batch on lines of their own; the manifest adds them up",
    "text-byebyechen-st-gcn-master-improved-01": _ADDED_UP,
    "text-cuberrchen-csra-paddle-01": _AP,
    "text-jannenev-compare-nlp-models-01": _ADDED_UP,
    "text-jm12138-paddle-chexnet-01": _HELD_OUT,
    "text-jm12138-paddle-chexnet-02": _HELD_OUT,
    "text-jofrems-tts-vits-finetuned-01": _HELD_OUT,
    "text-kehanlu-mandarin-wav2vec2-01": "43 lines of JSON: 23 of updates, 10 of epochs, 10 of validations",
    "text-kongdebug-rcan-paddle-01": "psnr and ssim are measured on held-out data; the manifest looks for the word val",
    "text-neemiasbsilva-developing-nanogpt2-fi-01": "eight lines `250 val 6.02`; the manifest takes them for others",
    "text-ner-ml-models-flair-ner-english-larg-01": _ADDED_UP,
    "text-pytorch-torchtitan-01": _OTHER_NUMBERS,
    "text-pytorch-torchtitan-02": _OTHER_NUMBERS,
    "text-pytorch-torchtitan-03": _OTHER_NUMBERS,
    "text-pytorch-torchtitan-05": _OTHER_NUMBERS,
    "text-pytorch-torchtitan-13": _OTHER_NUMBERS,
    "wandb-49-22-ann-01": "ten epochs; the manifest counts the states of a progress bar",
    "wandb-alyssajz-sweetberry-03": "one bar of one epoch, cut at its 78th batch",
    "wandb-aronnepiperno-fewshot-01": _BARS,
    "wandb-aronnepiperno-fewshot-03": _BARS,
    "wandb-aronnepiperno-fewshot-04": _BARS,
    "text-biaoliu2017-bert-ner-01": "scores by entity type after the training; no training curve is logged",
}
"""Runs whose entry in the manifest is not what the files hold, each with the reason."""


def read(folder: Path, plugins: Plugins) -> tuple[list[Run], list[str]]:
    """The runs in a folder, and what could not be worked on."""
    problems: list[str] = []
    return list(read_runs(Request((folder,)), plugins, problems)), problems


def points(runs: list[Run]) -> int:
    """Length of the longest series."""
    return max((len(series) for run in runs for series in run.metrics), default=0)


def logged_rows(runs: list[Run]) -> int:
    """Rows of the longest log: what a parser counts that takes the column of steps or epochs for a series."""
    return max((rows.count for run in runs for rows in run.rows.values()), default=0)


def has_validation(runs: list[Run]) -> bool:
    """Whether some series belongs to held-out data."""
    return any(series.name.startswith(("val/", "test/")) for run in runs for series in run.metrics)


def main() -> int:
    """Reads, compares and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--format", help="only runs of this format, or whose id contains this")
    parser.add_argument("--all", action="store_true", help="print runs that agree, too")
    args = parser.parse_args()
    plugins = load()
    rows: list[dict[str, Any]] = [json.loads(line) for line in (args.corpus / "manifest.jsonl").open(encoding="utf-8")]
    rows = [r for r in rows if not args.format or args.format == r["format"] or args.format in r["id"]]
    opened = same_points = same_validation = counted = alike = 0
    for row in rows:
        runs, problems = read(args.corpus / "runs" / row["id"], plugins)
        found, val = points(runs), has_validation(runs)
        counts = (found, logged_rows(runs))
        known = row["id"] in KNOWN
        right_points = any(abs(count - row["n_points"]) <= TOLERANCE * row["n_points"] for count in counts)
        right_val = val == row["has_val"]
        alike += right_points and right_val
        opened += bool(found) or not row["n_points"] or known
        counted += 1
        same_points += right_points or known
        same_validation += right_val or known
        if args.all or not (right_points and right_val):
            unread = [str(u) for run in runs for u in run.unread if u.known]
            why = f"  ({KNOWN[row['id']]})" if known else ""
            read_of = f"points {found:,} in {counts[1]:,} rows of {row['n_points']:,}"
            print(f"{row['id']}: {read_of}, validation {val} of {row['has_val']}{why}")
            for line in [*problems, *unread][:3]:
                print(f"    {line[:200]}")
    print(
        f"{counted} runs: opened {opened}, points agree {same_points}, validation agrees {same_validation}; "
        f"{alike} are as the manifest has them, {sum(r['id'] in KNOWN for r in rows)} are explained"
    )
    return int(opened < OPENED * counted or min(same_points, same_validation) < AGREEING * counted)


if __name__ == "__main__":
    sys.exit(main())
