"""What a command refuses."""


class CommandError(Exception):
    """A mistake in what was asked for: printed as one line, exit code 2."""
