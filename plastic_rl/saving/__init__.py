"""Model files without code: settings as JSON, numbers as safetensors. See docs/model_files.md."""

from plastic_rl.saving.classes import register_for_loading
from plastic_rl.saving.errors import ModelFileError, UntrustedFileError
from plastic_rl.saving.model import load_model, read_content, read_parameters, save_model
from plastic_rl.saving.policy import load_policy, save_policy

__all__ = [
    "ModelFileError",
    "UntrustedFileError",
    "load_model",
    "load_policy",
    "read_content",
    "read_parameters",
    "register_for_loading",
    "save_model",
    "save_policy",
]
