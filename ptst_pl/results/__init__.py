"""Results: records on disk, what a run is, its rates and their intervals.

In: verdicts and settings. Out: files that a later version can read, and the numbers that are shown.
May import: nothing of ours; the standard library and scipy.
"""
