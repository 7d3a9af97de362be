"""What the networks learn: the comparisons and figures of docs/."""
