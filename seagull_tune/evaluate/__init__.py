"""Measuring a tuned model on photographs it never saw, beside baselines, and the report that shows it."""
