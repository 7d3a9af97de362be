"""The plastic recurrent network as one operator: ``plastic_rnn(x, params, state, episode_starts)``."""

from plastic_rl.ops.plastic_rnn.api import initial_state, plastic_rnn, plastic_rnn_step_
from plastic_rl.ops.plastic_rnn.backends import BACKENDS, backend_names
from plastic_rl.ops.plastic_rnn.cells import (
    CELLS,
    CellDefinition,
    drive_size,
    gate_values,
    get_cell,
    state_shapes,
)
from plastic_rl.ops.plastic_rnn.protocols import OperatorBackend, Refusal, Tape
from plastic_rl.ops.plastic_rnn.recording import Recording, plastic_rnn_replay
from plastic_rl.ops.plastic_rnn.rules import (
    ACTIVATIONS,
    RULES,
    RuleDefinition,
    RuleFunction,
    UnknownRuleError,
    get_rule,
    register_rule,
    rule_names,
    try_rule,
    update_trace,
)
from plastic_rl.ops.plastic_rnn.state import batch_size, map_state, take_rows, tensors, zero_rows
from plastic_rl.ops.plastic_rnn.tape import RerunTape
from plastic_rl.ops.plastic_rnn.threads import torch_in_one_thread
from plastic_rl.ops.plastic_rnn.types import (
    Activation,
    Backend,
    Cell,
    PlasticParams,
    PlasticState,
    Rule,
)

__all__ = [
    "ACTIVATIONS",
    "BACKENDS",
    "CELLS",
    "RULES",
    "Activation",
    "Backend",
    "Cell",
    "CellDefinition",
    "OperatorBackend",
    "PlasticParams",
    "PlasticState",
    "Recording",
    "Refusal",
    "RerunTape",
    "Rule",
    "RuleDefinition",
    "RuleFunction",
    "Tape",
    "UnknownRuleError",
    "backend_names",
    "batch_size",
    "drive_size",
    "gate_values",
    "get_cell",
    "get_rule",
    "initial_state",
    "map_state",
    "plastic_rnn",
    "plastic_rnn_replay",
    "plastic_rnn_step_",
    "register_rule",
    "rule_names",
    "state_shapes",
    "take_rows",
    "tensors",
    "torch_in_one_thread",
    "try_rule",
    "update_trace",
    "zero_rows",
]
