"""How often each rule finds what it is there for, and how often it cries wolf: `docs/results/rule_rates.json`.

    python benchmarks/rule_rates.py [SET=MAP ...] [--selftest] [--seeds 10] [--output FILE]

SET is a folder of labelled runs: `labels.jsonl` with `id`, `labels` or `faults`, perhaps `healthy`, `confidence` and
`difficulty`, and a folder of each id, below `runs/` where there is one. MAP is a JSON file: label → names of the rules
of which one should have a finding. Labelled sets are no part of the project; the sets of the published figures are
named in the results. `--selftest` adds the simulated healthy runs and the faults that are planted into them, and
plants the same faults, at their stated sizes, into the labelled runs that are healthy.

Runs are read and judged one by one in this process. Labels of low confidence count neither way; so do runs whose fault
shows only in what was not kept (`difficulty: latent`). A false alarm is an error or a warning on a run that is labelled
healthy, unless what the rule speaks of says nothing about the curves that such a label judges (`OTHER_MATTERS`).
Recall is that of the rule alone and that of all rules of the label together, and the latter once more without the
labels that `docs/results/labels.toml` says are wrong or cannot be seen in the files. Intervals are Wilson's, 95 %.
"""

from __future__ import annotations

import argparse
import datetime
import json
import platform
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from mldiag import __version__
from mldiag.audit import Request, read_runs
from mldiag.engine import apply_rules
from mldiag.faults.healthy import families
from mldiag.findings import Severity
from mldiag.plugins import Plugins, load
from mldiag.run import Run
from mldiag.selftest import Host, Selftest, selftest
from mldiag.stats import wilson_interval

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "rule_rates.json"

LABELS = RESULTS.with_name("labels.toml")

OTHER_MATTERS = frozenset({
    "no-validation", "missing-safeguards", "unseeded-run", "interrupted-run", "metadata-gap", "log-discontinuity",
    "last-not-best", "unsafe-pickle", "late-stop", "threshold-only-metrics", "data-repetition", "tokens-per-parameter",
})  # fmt: skip
"""Rules whose findings do not contradict that the curves are healthy: they are counted, but not as false alarms."""


@dataclass
class LabelledRun:
    """One labelled run.

    Attributes:
        besides: labels that are true of it as well, so that finding them is right.
        hidden: of its labels those that are wrong or cannot be seen in its files.
        found: rule code → whether one of its findings is an error or a warning.
        judged: codes of the rules that looked at it.
        kept: a healthy run itself, with series that faults can be planted into.
    """

    name: str
    labels: frozenset[str]
    healthy: bool
    besides: frozenset[str] = frozenset()
    hidden: frozenset[str] = frozenset()
    found: dict[str, bool] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    kept: Run | None = None


@dataclass
class LabelledSet:
    """The runs of a folder that could be read, and which rules should find which label."""

    name: str
    title: str
    rules_of: Mapping[str, frozenset[str]]
    runs: list[LabelledRun]
    seconds: float

    def true_of(self, run: LabelledRun) -> frozenset[str]:
        """Rules that may have a finding on a run beside those of its labels."""
        return frozenset().union(*(self.rules_of.get(label, frozenset()) for label in run.besides))


def judged_set(folder: Path, rules_of: Mapping[str, frozenset[str]], plugins: Plugins) -> LabelledSet:
    """Reads every labelled run and applies every rule."""
    began = time.process_time()
    runs = list(_judged_runs(folder, plugins))
    return LabelledSet(folder.name, _title(folder), rules_of, runs, time.process_time() - began)


def _judged_runs(folder: Path, plugins: Plugins) -> Iterator[LabelledRun]:
    root = folder / "runs" if (folder / "runs").is_dir() else folder
    rules = list(plugins.rules.values())
    hidden: dict[str, set[str]] = {}
    for each in tomllib.loads(LABELS.read_text(encoding="utf-8"))["label"]:
        if each["verdict"] != "missed":
            hidden.setdefault(each["run"], set()).add(each["label"])
    for line in (folder / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line) if line.strip() else {}
        path = root / str(row.get("id"))
        if not row or not path.is_dir() or row.get("confidence") == "low" or row.get("difficulty") == "latent":
            continue
        labels = frozenset(row.get("labels") or row.get("faults") or ())
        judged = LabelledRun(
            path.name,
            labels,
            row.get("healthy") is True or labels == {"healthy"},
            frozenset(row.get("also_true") or ()),
            frozenset(hidden.get(path.name, ())),
        )
        for run in read_runs(Request((path,)), plugins, []):
            report = apply_rules(run, rules)
            if judged.healthy and run.metrics.series:
                judged.kept = run
            for failed in report.failed:
                print(f"{path.name}: {failed.code} failed: {failed.error}", file=sys.stderr)
            judged.judged |= {*report.clean, *(f.code for f in report.findings)}
            for finding in report.findings:
                judged.found[finding.code] = judged.found.get(finding.code, False) or (
                    finding.level is not Severity.INFO
                )
        yield judged


def _title(folder: Path) -> str:
    """The heading of the set's own page."""
    page = folder / "README.md"
    lines = page.read_text(encoding="utf-8").splitlines() if page.is_file() else []
    return next((line.lstrip("# ").strip() for line in lines if line.startswith("#")), folder.name)


def rate(found: int, tried: int) -> dict[str, Any]:
    """A counted share with its 95 % interval."""
    low, high = wilson_interval(found, tried)
    return {"found": found, "tried": tried, "interval": [round(low, 4), round(high, 4)]}


def rates_in(labelled: LabelledSet, code: str, name: str, names: Mapping[str, str]) -> dict[str, Any]:
    """The figures of one rule on one set. `names`: rule code → name."""
    # A run that the rule did not look at says nothing for it.
    healthy = [run for run in labelled.runs if run.healthy and code in run.judged]
    alarms = sum(run.found.get(code, False) and name not in labelled.true_of(run) for run in healthy)
    result: dict[str, Any] = {
        "runs": len(labelled.runs),
        "judged": sum(code in run.judged for run in labelled.runs),
        "healthy": {**rate(alarms, len(healthy)), "false_alarms": name not in OTHER_MATTERS},
        "labels": [],
    }
    for label, wanted in labelled.rules_of.items():
        if name not in wanted:
            continue
        carrying = [run for run in labelled.runs if label in run.labels]
        shown = [run for run in carrying if label not in run.hidden]
        result["labels"].append(
            {
                "label": label,
                "rules": sorted(wanted),
                "by_this_rule": rate(sum(code in run.found for run in carrying), len(carrying)),
                "by_any": _recall(carrying, wanted, names),
                "shown": _recall(shown, wanted, names),
            }
        )
    return result


def _recall(runs: Sequence[LabelledRun], wanted: frozenset[str], names: Mapping[str, str]) -> dict[str, Any]:
    """In how many runs some of the wanted rules has a finding."""
    return rate(sum(any(names[c] in wanted for c in run.found) for run in runs), len(runs))


def rates_planted(test: Selftest, code: str, real: Selftest | None) -> dict[str, Any]:
    """The figures of one rule on simulated runs and on the faults that were planted into them and into real runs."""
    alarms = test.alarms
    in_real = {c.fault.name: rate(c.stated.found, c.stated.tried) for c in real.catches} if real is not None else {}
    faults = []
    for catch in test.judged:
        if any(rule.code == code for rule in catch.rules):
            sizes = [
                {"size": s.size, "by_this_rule": rate(s.by_rule[code], s.tried), "by_any": rate(s.found, s.tried)}
                for s in catch.sizes
                if s.tried
            ]
            faults.append(
                {
                    "fault": catch.fault.name,
                    "unit": catch.fault.unit,
                    "stated_size": catch.fault.size,
                    "found_from": catch.from_size,
                    "rules": [rule.name for rule in catch.rules],
                    "sizes": sizes,
                    "in_labelled_runs": in_real.get(catch.fault.name),
                }
            )
    return {
        "runs": alarms.runs,
        "judged": alarms.judged[code],
        "healthy": {**rate(alarms.by_rule[code], alarms.judged[code]), "false_alarms": True},
        "faults": faults,
    }


def results(
    sets: Sequence[LabelledSet],
    test: Selftest | None,
    real: Selftest | None,
    plugins: Plugins,
    seeds: int,
    command: str,
) -> dict[str, Any]:
    """Everything that was measured, by rule."""
    names = {rule.code: rule.name for rule in plugins.rules.values()}
    rules: dict[str, Any] = {}
    for rule in sorted(plugins.rules.values(), key=lambda r: r.code):
        rules[rule.code] = {
            "name": rule.name,
            "sets": {s.name: rates_in(s, rule.code, rule.name, names) for s in sets},
            "selftest": rates_planted(test, rule.code, real) if test is not None else None,
        }
    return {
        "schema": 1,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "version": __version__,
        "python": platform.python_version(),
        "command": command,
        "interval": "Wilson, 95 %",
        "sets": {s.name: _about(s, names) for s in sets},
        "selftest": None
        if test is None
        else {
            "families": len(families()),
            "seeds": seeds,
            "healthy": rate(test.alarms.alarmed, test.alarms.runs),
            "faults": len(test.judged),
            "faults_found": sum(not c.failed for c in test.judged),
            "labelled_runs": 0 if real is None else len(real.alarms.found),
        },
        "rules": rules,
    }


def _about(labelled: LabelledSet, names: Mapping[str, str]) -> dict[str, Any]:
    """What a set is, and what all rules together found in it."""
    healthy = [run for run in labelled.runs if run.healthy]
    alarmed = sum(
        any(bad and names[c] not in OTHER_MATTERS | labelled.true_of(run) for c, bad in run.found.items())
        for run in healthy
    )
    labels = []
    for label, wanted in labelled.rules_of.items():
        carrying = [run for run in labelled.runs if label in run.labels]
        shown = [run for run in carrying if label not in run.hidden]
        labels.append(
            {
                "label": label,
                "rules": sorted(wanted),
                **_recall(carrying, wanted, names),
                "shown": _recall(shown, wanted, names),
            }
        )
    return {
        "title": labelled.title,
        "runs": len(labelled.runs),
        "labels_seen": dict(sorted(Counter(label for run in labelled.runs for label in run.labels).items())),
        "healthy": rate(alarmed, len(healthy)),
        "labels": labels,
    }


def main() -> None:
    """Measures, writes the results and prints a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", nargs="*", metavar="SET=MAP")
    parser.add_argument("--selftest", action="store_true")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--output", type=Path, default=RESULTS)
    args = parser.parse_args()
    plugins = load()
    if plugins.broken:
        raise SystemExit("\n".join(plugins.broken))
    sets = []
    for word in args.sets:
        folder, _, table = word.partition("=")
        rules_of = {k: frozenset(v) for k, v in json.loads(Path(table).read_text(encoding="utf-8")).items()}
        sets.append(judged_set(Path(folder).resolve(), rules_of, plugins))
        print(f"{sets[-1].name}: {len(sets[-1].runs)} runs in {sets[-1].seconds:.1f} s of CPU")
    test = real = None
    if args.selftest:
        began = time.process_time()
        hosts = [Host(f.name, partial(f.run, facts=plugins.facts)) for f in families()]
        test = selftest(hosts, plugins.faults().values(), list(plugins.rules.values()), args.seeds)
        print(f"selftest: {test.alarms.runs} healthy runs in {time.process_time() - began:.1f} s of CPU")
        kept = [(f"{s.name}/{r.name}", r.kept) for s in sets for r in s.runs if r.kept is not None]
        labelled = [Host(name, lambda _, run=run: run, simulated=False) for name, run in kept]  # type: ignore[misc]
        stated = [replace(f, sizes=(f.size,)) for f in plugins.faults().values()]
        real = selftest(labelled, stated, list(plugins.rules.values()), 1) if labelled else None
        print(f"planted into {len(labelled)} labelled healthy runs as well: {time.process_time() - began:.1f} s in all")
    # Where the sets lie is this machine's own matter; which they are is in the results.
    words = [*(f"{s.name}=MAP" for s in sets), *(["--selftest"] if args.selftest else [])]
    found = results(sets, test, real, plugins, args.seeds, " ".join(["python benchmarks/rule_rates.py", *words]))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    args.output.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    _summarize(found)


def _summarize(found: Mapping[str, Any]) -> None:
    for name, about in found["sets"].items():
        print(f"\n{name}: {about['healthy']['found']} of {about['healthy']['tried']} healthy runs raised an alarm")
        for label in about["labels"]:
            if label["tried"]:
                shown = label["shown"]
                print(
                    f"  {label['label']}: {label['found']} of {label['tried']}, "
                    f"of those that the files show {shown['found']} of {shown['tried']}"
                )
    if found["selftest"]:
        told = found["selftest"]
        print(
            f"\nselftest: {told['faults_found']} of {told['faults']} faults found in 95 % at their stated size; ",
            end="",
        )
        print(f"{told['healthy']['found']} of {told['healthy']['tried']} healthy runs raised an alarm")


if __name__ == "__main__":
    main()
