"""The testbed: permutations of texts from grammars, where harm is known exactly and a model is trained in minutes."""
