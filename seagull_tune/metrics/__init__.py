"""Figures of merit: correlation, classification, agreement of raters, cluster-bootstrap intervals (numpy, scipy)."""

from seagull_tune.metrics.agreement import krippendorff_alpha, leave_one_out_srcc
from seagull_tune.metrics.bootstrap import Difference, Interval, cluster_bootstrap, paired_bootstrap
from seagull_tune.metrics.classification import (
    SampleScores,
    macro_f1,
    sample_scores,
    severity_accuracy,
    severity_f1,
    severity_sample_scores,
)
from seagull_tune.metrics.correlation import (
    LogisticFit,
    krcc,
    logistic_fit,
    plcc,
    plcc_logistic,
    rmse,
    srcc,
    within_group_srcc,
)

__all__ = [
    "Difference",
    "Interval",
    "LogisticFit",
    "SampleScores",
    "cluster_bootstrap",
    "krcc",
    "krippendorff_alpha",
    "leave_one_out_srcc",
    "logistic_fit",
    "macro_f1",
    "paired_bootstrap",
    "plcc",
    "plcc_logistic",
    "rmse",
    "sample_scores",
    "severity_accuracy",
    "severity_f1",
    "severity_sample_scores",
    "srcc",
    "within_group_srcc",
]
