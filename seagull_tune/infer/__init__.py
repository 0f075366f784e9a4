"""Asking the tuned model: numbers for regions, free questions, conversations."""
