"""All that a plugin may import: the compatibility promise of mldiag.

Within a major version names are added here, never removed or changed in meaning. A rule, fact, reader or reporter that
imports only this module goes on working.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mldiag import stats as stats
    from mldiag.artifacts import (
        Build as Build,
        Call as Call,
        Collection as Collection,
        Disagreement as Disagreement,
        Flag as Flag,
        Idiom as Idiom,
        Launch as Launch,
        Metrics as Metrics,
        Option as Option,
        Origin as Origin,
        Program as Program,
        PythonSource as PythonSource,
        Role as Role,
        Sample as Sample,
        Samples as Samples,
        Scalar as Scalar,
        Series as Series,
        Settings as Settings,
        SettingValue as SettingValue,
        Site as Site,
        Source as Source,
        Unread as Unread,
        as_count as as_count,
        as_number as as_number,
        floats as floats,
    )
    from mldiag.checkpoints import Checkpoint as Checkpoint, Checkpoints as Checkpoints, Tensor as Tensor
    from mldiag.editors import (
        add_flag as add_flag,
        add_keyword as add_keyword,
        add_setting as add_setting,
        add_variable as add_variable,
        edit_everywhere as edit_everywhere,
        edit_setting as edit_setting,
    )
    from mldiag.errors import MldiagError as MldiagError, NotApplicable as NotApplicable, ReadError as ReadError
    from mldiag.expectations import (
        Expectation as Expectation,
        Expectations as Expectations,
        Moment as Moment,
        Reference as Reference,
        References as References,
    )
    from mldiag.facts import Fact as Fact, fact as fact
    from mldiag.facts.baselines import (
        Baselines as Baselines,
        binary_entropy as binary_entropy,
        rate_of_entropy as rate_of_entropy,
    )
    from mldiag.facts.batching import Batching as Batching, Reading as Reading, Unit as Unit
    from mldiag.facts.binary_loss import BinaryLoss as BinaryLoss
    from mldiag.facts.breaks import Break as Break, Breaks as Breaks
    from mldiag.facts.budget import Budget as Budget
    from mldiag.facts.chance import Chance as Chance
    from mldiag.facts.checkpoint_pair import CheckpointPair as CheckpointPair
    from mldiag.facts.conflicts import (
        Conflict as Conflict,
        ConflictKind as ConflictKind,
        Conflicts as Conflicts,
        is_padded_vocabulary as is_padded_vocabulary,
    )
    from mldiag.facts.curves import Curve as Curve, Curves as Curves, is_bounded_score as is_bounded_score
    from mldiag.facts.decision_thresholds import (
        Decision as Decision,
        Decisions as Decisions,
        DecisionThreshold as DecisionThreshold,
        DecisionThresholds as DecisionThresholds,
    )
    from mldiag.facts.early_stopping import EarlyStopping as EarlyStopping
    from mldiag.facts.ending import Ending as Ending
    from mldiag.facts.gradient_norm import GradientNorm as GradientNorm
    from mldiag.facts.initial_loss import InitialLoss as InitialLoss
    from mldiag.facts.log_order import Disorder as Disorder, LogOrder as LogOrder
    from mldiag.facts.loss_pair import LossPair as LossPair, Pair as Pair, ScorePair as ScorePair
    from mldiag.facts.loss_parts import LossPart as LossPart, LossParts as LossParts
    from mldiag.facts.loss_scale import LossScale as LossScale
    from mldiag.facts.lr_curve import LrCurve as LrCurve
    from mldiag.facts.outputs import Outputs as Outputs
    from mldiag.facts.pace import Pace as Pace
    from mldiag.facts.parameters import Parameters as Parameters
    from mldiag.facts.plan import Amount as Amount, Plan as Plan
    from mldiag.facts.positions import Positions as Positions
    from mldiag.facts.reference_values import ReferenceValues as ReferenceValues
    from mldiag.facts.resumes import Resume as Resume, Resumes as Resumes
    from mldiag.facts.row_tables import RowTable as RowTable, RowTables as RowTables
    from mldiag.facts.safeguards import Safeguard as Safeguard, Safeguards as Safeguards
    from mldiag.facts.saved_models import (
        Part as Part,
        SavedModel as SavedModel,
        SavedModels as SavedModels,
        is_adapter as is_adapter,
        is_of_another as is_of_another,
    )
    from mldiag.facts.schedule import (
        Landmark as Landmark,
        Schedule as Schedule,
        ScheduleCause as ScheduleCause,
        ScheduleKind as ScheduleKind,
    )
    from mldiag.facts.scored_examples import Column as Column, Scored as Scored, ScoredExamples as ScoredExamples
    from mldiag.facts.smoothing import Smoothing as Smoothing
    from mldiag.facts.split_texts import SharedLines as SharedLines, SplitTexts as SplitTexts
    from mldiag.facts.steering import Steering as Steering
    from mldiag.facts.tensor_statistics import TensorStatistics as TensorStatistics
    from mldiag.facts.token_claims import TokenClaim as TokenClaim, TokenClaims as TokenClaims
    from mldiag.facts.token_statistics import Shared as Shared, TokenStatistics as TokenStatistics
    from mldiag.facts.training_source import TrainingSource as TrainingSource
    from mldiag.facts.vocabularies import Mismatch as Mismatch, Vocabularies as Vocabularies
    from mldiag.facts.windows import Windows as Windows
    from mldiag.failures import (
        FailureKind as FailureKind,
        LoggedFailure as LoggedFailure,
        LoggedFailures as LoggedFailures,
    )
    from mldiag.faults import Fault as Fault, fault as fault, planting as planting
    from mldiag.files import File as File
    from mldiag.findings import (
        Edit as Edit,
        Evidence as Evidence,
        Finding as Finding,
        Fix as Fix,
        Safety as Safety,
        Severity as Severity,
    )
    from mldiag.groups import Against as Against, Group as Group, Member as Member, Result as Result
    from mldiag.hooks import hookimpl as hookimpl
    from mldiag.parts import (
        facts_in as facts_in,
        faults_in as faults_in,
        readers_in as readers_in,
        reporters_in as reporters_in,
        rules_in as rules_in,
    )
    from mldiag.patterns import lazily as lazily
    from mldiag.quantities import (
        is_capped as is_capped,
        is_lower_better as is_lower_better,
        is_whole_score as is_whole_score,
    )
    from mldiag.readers import Reader as Reader, reader as reader
    from mldiag.report import Report as Report, RunReport as RunReport, Style as Style
    from mldiag.reporters import Reporter as Reporter, reporter as reporter
    from mldiag.rules import Rule as Rule, rule as rule
    from mldiag.run import Run as Run
    from mldiag.scores import Classes as Classes, Scores as Scores, ScoreTable as ScoreTable
    from mldiag.stats.tensors import Summary as Summary, numbers as numbers
    from mldiag.tokens import (
        TokenFile as TokenFile,
        TokenFiles as TokenFiles,
        Tokenizer as Tokenizer,
        Tokenizers as Tokenizers,
        TrainingText as TrainingText,
        TrainingTexts as TrainingTexts,
    )
    from mldiag.vocabulary import Vocabulary as Vocabulary, split_of as split_of
else:

    def __getattr__(name: str) -> object:
        from mldiag.index import promised_by

        return promised_by(__name__, name)

    def __dir__() -> list[str]:
        from mldiag.index import promised

        return sorted({*globals(), *promised(__name__)})
