"""Ship: a run as a folder to serve, the gate that a release must pass, and fine-tuning on a server.

In: a run's folder or its results. Out: a model with its card, or pass and fail.
May import: report, training and everything below them; the gate imports no torch.
"""
