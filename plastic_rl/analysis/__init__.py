"""The study of trained agents: lifetimes, lesions, pictures."""
