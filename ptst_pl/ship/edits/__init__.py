"""Edits of weights after training: from an aligned and a fine-tuned model a third one, tensor by tensor.

In: a finished run, or two model folders. Out: a model folder with a record of the edit in it.
May import: export, model, tasks and everything below them.
"""
