"""Generic training: stages as data, the thin Trainer, callbacks, the record of a run."""
