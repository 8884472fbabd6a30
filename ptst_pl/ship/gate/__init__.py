"""Pass or fail for pipelines, from result files; needs no torch."""
