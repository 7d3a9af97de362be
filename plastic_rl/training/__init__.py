"""Training: algorithms, vector environments, evaluation and the command line."""
