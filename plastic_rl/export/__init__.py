"""Trained agents for other programs: one step as an ONNX file or as a program of ``torch.export``."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from plastic_rl.export.agent import OnnxAgent
    from plastic_rl.export.onnx_file import export_onnx
    from plastic_rl.export.program import export_program

__all__ = ["OnnxAgent", "export_onnx", "export_program"]

# Imported when first used: who only runs an agent needs no torch.
_LAZY = {
    "OnnxAgent": "plastic_rl.export.agent",
    "export_onnx": "plastic_rl.export.onnx_file",
    "export_program": "plastic_rl.export.program",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
