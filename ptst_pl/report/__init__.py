"""Tables from result files; needs no torch."""
