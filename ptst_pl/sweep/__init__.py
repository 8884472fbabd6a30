"""Sweep: every combination of some keys of a config, each as a ``fit`` in its own process.

In: a config and lists of values. Out: a folder of runs, made once each, whatever happens in between.
May import: planning, report, training and everything below them.
"""
