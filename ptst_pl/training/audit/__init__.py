"""What does not belong among training rows: text that nobody reads, odd formats, copies of evaluation prompts."""
