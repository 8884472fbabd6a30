"""Verdicts after the run: other judges on stored answers, agreement between judges, sheets for people."""
