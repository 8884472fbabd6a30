"""Planning: what a training run needs before it is started.

In: the config of a fit. Out: parameters, tokens, memory, operations, hours; no weights are loaded.
May import: training and everything below it.
"""
