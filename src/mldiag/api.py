"""All that a plugin may import: the compatibility promise of mldiag.

Within a major version names are added here, never removed or changed in meaning. A rule, fact, reader or reporter that
imports only this module goes on working.
"""

from __future__ import annotations

from mldiag import stats
from mldiag.artifacts import (
    Build,
    Call,
    Flag,
    Launch,
    Metrics,
    Option,
    Origin,
    Program,
    PythonSource,
    Role,
    Sample,
    Samples,
    Scalar,
    Series,
    Settings,
    SettingValue,
    Source,
    Unread,
    floats,
)
from mldiag.editors import add_flag, edit_setting
from mldiag.errors import MldiagError, NotApplicable, ReadError
from mldiag.facts import Fact, as_fact, fact
from mldiag.facts.batching import Batching, Reading, Unit
from mldiag.facts.breaks import Break, Breaks
from mldiag.facts.budget import Budget
from mldiag.facts.chance import Chance
from mldiag.facts.conflicts import Conflict, ConflictKind, Conflicts
from mldiag.facts.curves import Curve, Curves, is_bounded_score
from mldiag.facts.early_stopping import EarlyStopping
from mldiag.facts.loss_pair import LossPair, Pair, ScorePair
from mldiag.facts.lr_curve import LrCurve
from mldiag.facts.parameters import Parameters
from mldiag.facts.plan import Amount, Plan
from mldiag.facts.positions import Positions
from mldiag.facts.safeguards import Safeguard, Safeguards
from mldiag.facts.training_source import TrainingSource
from mldiag.facts.windows import Windows
from mldiag.files import File
from mldiag.findings import Edit, Evidence, Finding, Fix, Safety, Severity
from mldiag.hooks import hookimpl
from mldiag.plugins import facts_in, readers_in, reporters_in, rules_in
from mldiag.readers import Reader, as_reader, reader
from mldiag.report import Report, RunReport, Style
from mldiag.reporters import Reporter, as_reporter, reporter
from mldiag.rules import Rule, rule
from mldiag.run import Run
from mldiag.vocabulary import Vocabulary

__all__ = [
    "Amount",
    "Batching",
    "Break",
    "Breaks",
    "Budget",
    "Build",
    "Call",
    "Chance",
    "Conflict",
    "ConflictKind",
    "Conflicts",
    "Curve",
    "Curves",
    "EarlyStopping",
    "Edit",
    "Evidence",
    "Fact",
    "File",
    "Finding",
    "Fix",
    "Flag",
    "Launch",
    "LossPair",
    "LrCurve",
    "Metrics",
    "MldiagError",
    "NotApplicable",
    "Option",
    "Origin",
    "Pair",
    "Parameters",
    "Plan",
    "Positions",
    "Program",
    "PythonSource",
    "ReadError",
    "Reader",
    "Reading",
    "Report",
    "Reporter",
    "Role",
    "Rule",
    "Run",
    "RunReport",
    "Safeguard",
    "Safeguards",
    "Safety",
    "Sample",
    "Samples",
    "Scalar",
    "ScorePair",
    "Series",
    "SettingValue",
    "Settings",
    "Severity",
    "Source",
    "Style",
    "TrainingSource",
    "Unit",
    "Unread",
    "Vocabulary",
    "Windows",
    "add_flag",
    "as_fact",
    "as_reader",
    "as_reporter",
    "edit_setting",
    "fact",
    "facts_in",
    "floats",
    "hookimpl",
    "is_bounded_score",
    "reader",
    "readers_in",
    "reporter",
    "reporters_in",
    "rule",
    "rules_in",
    "stats",
]
