"""The real lab: the paper's effect on a language model of 135 M parameters, on a laptop, without a model hub."""
