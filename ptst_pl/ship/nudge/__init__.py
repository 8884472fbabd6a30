"""The classifier of SafeNudge, from a run's own answers."""
