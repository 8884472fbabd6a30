"""A finished run as a standard Hugging Face folder, with a model card that says how to serve it."""
