"""Labs: small worlds to try everything in.

In: nothing, or a model that can be had without a hub. Out: a model, its rows and its prompts.
May import: templates and results.
"""
