"""The paper's numbers as data, measured results beside them, and what its experiments cost."""
