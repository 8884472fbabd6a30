"""Training: the Lightning module, its callbacks and strategies, and the commands that run the trainer.

In: a model, a task and what is to be watched. Out: a run's folder with checkpoints, curves and results.
May import: evaluation and everything below it. Lightning lives here and in ``tasks``.
"""
