"""Evaluation: templates x suites x judges, on a model in memory or behind an endpoint.

In: a model, test templates, suites and judges. Out: stored answers, verdicts and rates.
May import: judges, generation and everything below them.
"""
