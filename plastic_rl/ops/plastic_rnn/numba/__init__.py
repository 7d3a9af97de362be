"""The fused CPU backend: float32, compiled with numba, imported only when it is used."""
