"""What is wrong with a model file."""


class ModelFileError(ValueError):
    """A model file is damaged, of another kind, or describes something else than it holds.

    Nothing in it was run.
    """


class UntrustedFileError(ModelFileError):
    """A file holds pickled objects, which run code when they are read, and nobody said to trust it."""
