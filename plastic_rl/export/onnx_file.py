"""One step of an agent as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from stable_baselines3.common.base_class import BaseAlgorithm

from plastic_rl.export.metadata import describe_step
from plastic_rl.export.program import given, names, traced
from plastic_rl.export.step import AgentStep
from plastic_rl.files import atomic

_PACKAGES = ("onnx", "onnxscript")


def export_onnx(
    model: BaseAlgorithm,
    path: str | Path,
    *,
    env_id: str | None = None,
    action_masks: bool | None = None,
) -> None:
    """Write one step of a trained agent to an ONNX file, for any number of environments B at a time.

    Inputs are ``observation`` (of a Dict ``observation.<key>``), ``episode_start`` (B,) bool,
    ``state.<name>`` for every part of the state, and ``action_mask`` (B, M) bool where the agent takes one.
    Outputs are ``action``, what that was chosen from (``logits``; of a Box ``mean`` and ``std``, before any
    squashing; of a supervised network ``output``), ``value`` (B,) where there is a critic, and
    ``new_state.<name>``. A state starts with zeros, or with anything and ``episode_start`` true. The action
    is the most probable one, within the bounds of a Box. `VecNormalize` around the model's environments is
    part of the file: observations go in as the environment gives them. The file's metadata name environment,
    spaces, inputs and outputs.

    Args:
        model: a model of `PlasticA2C`, `PlasticPPO`, `SupervisedMetaLearner`, RecurrentPPO, A2C or PPO.
        path: of the file; one that is there is replaced.
        env_id: of the metadata; by default that of the model's environments.
        action_masks: whether a mask is one of the inputs; None is where the model's environments have masks
            and it uses them.

    Raises:
        ImportError: the packages of the extra ``onnx`` are not installed.
        ValueError: the model has another kind of policy.
        OSError: the file cannot be written.
    """
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise ImportError(f'ONNX files need {" and ".join(missing)}: pip install "plastic-rl[onnx]"')
    path = Path(path)
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path} cannot be written: there is no folder {path.parent}")
    step = AgentStep(model, action_masks)
    proto = _as_onnx(step)
    for key, value in describe_step(model, step, env_id).items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    with atomic(path) as partial:
        partial.write_bytes(proto.SerializeToString())


def _as_onnx(step: AgentStep) -> Any:
    """The ``onnx.ModelProto`` of a step, inputs, outputs and their first dimension named."""
    program, inputs = traced(step), given(step)
    with _quiet():
        exported = torch.onnx.export(program, dynamo=True, verbose=False)
    assert exported is not None
    graph = exported.model.graph
    with torch.no_grad():
        outputs = program.module()(**inputs)
    outputs["new_state"] = outputs.pop("state")
    for values, new in ((graph.inputs, names(inputs)), (graph.outputs, names(outputs))):
        for value, name in zip(values, new, strict=True):
            value.name = name
            assert value.shape is not None
            value.shape = type(value.shape)(["batch", *value.shape[1:]])
    return exported.model_proto


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporter says of its own code and of packages that are not needed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
