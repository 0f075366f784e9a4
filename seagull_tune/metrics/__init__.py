"""Figures of merit: correlation, classification, agreement of raters, cluster-bootstrap intervals (numpy, scipy)."""

from seagull_tune.metrics.agreement import krippendorff_alpha, leave_one_out_srcc
from seagull_tune.metrics.bootstrap import Interval, cluster_bootstrap
from seagull_tune.metrics.classification import macro_f1, sample_f1, severity_accuracy, severity_f1
from seagull_tune.metrics.correlation import krcc, plcc, plcc_logistic, rmse, srcc, within_group_srcc

__all__ = [
    "Interval",
    "cluster_bootstrap",
    "krcc",
    "krippendorff_alpha",
    "leave_one_out_srcc",
    "macro_f1",
    "plcc",
    "plcc_logistic",
    "rmse",
    "sample_f1",
    "severity_accuracy",
    "severity_f1",
    "srcc",
    "within_group_srcc",
]
