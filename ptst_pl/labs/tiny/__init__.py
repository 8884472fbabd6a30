"""The tiny lab: a synthetic world in which harm can be judged exactly, and the rows that teach it."""
