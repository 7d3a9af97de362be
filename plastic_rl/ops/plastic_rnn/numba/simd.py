"""A vector of 8 or 16 float32 as a value inside numba functions.

LLVM's own loop vectoriser gives up on the inner loops of this operator: they read and write so many arrays
that the check for overlap would cost more than it saves. With vectors as values nothing has to be proved.
A vector is one register where there is AVX-512 (16 lanes) or AVX2 (8); LLVM splits it where registers are
shorter.

This module imports numba: it is imported only by the numba backend.
"""

# numba infers the types of compiled functions from their arguments; annotations would be decoration.
# mypy: ignore-errors

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import config
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

# What numba compiles for: the host's registers, or what NUMBA_CPU_FEATURES names.
_FEATURES = get_host_cpu_features() if config.CPU_FEATURES is None else config.CPU_FEATURES
LANES = 16 if "+avx512f" in _FEATURES.split(",") else 8

# A product and a sum may become one instruction; nothing else may change: the sums keep their order, and
# infinities and NaN keep their meaning (a diverged network must show).
_FAST = ("contract",)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_INTS = ir.VectorType(ir.IntType(32), LANES)


class Float32Vector(types.Type):
    """The numba type of ``LANES`` float32 values."""

    def __init__(self) -> None:
        super().__init__(name=f"float32x{LANES}")


float32s = Float32Vector()


@register_model(Float32Vector)
class _Float32VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _FLOATS)


def _pointer(context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _FLOATS.as_pointer())


def _constant(value: float) -> Any:
    return ir.Constant(_FLOATS, [float(np.float32(value))] * LANES)


def _splat(builder: Any, scalar: Any) -> Any:
    empty = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, empty, ir.Constant(_INTS, [0] * LANES))


def _call(builder: Any, name: str, result: Any, *args: Any, fastmath: tuple[str, ...] = ()) -> Any:
    function_type = ir.FunctionType(result, [arg.type for arg in args])
    function = builder.module.globals.get(name) or ir.Function(builder.module, function_type, name)
    return builder.call(function, args, fastmath=fastmath)


@intrinsic
def load(typing_context: Any, array: Any, index: Any) -> Any:
    """``LANES`` values of a flat contiguous array from ``index`` on; the caller keeps inside the array."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_pointer(context, builder, signature.args[0], *args), align=4)

    return float32s(array, types.intp), generate


@intrinsic
def store(typing_context: Any, array: Any, index: Any, vector: Any) -> Any:
    """Write ``LANES`` values to a flat contiguous array from ``index`` on."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], _pointer(context, builder, signature.args[0], args[0], args[1]), align=4)
        return context.get_dummy_value()

    return types.none(array, types.intp, vector), generate


@intrinsic
def splat(typing_context: Any, scalar: Any) -> Any:
    """The same scalar in every lane."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return float32s(types.float32), generate


@intrinsic
def broadcast(typing_context: Any, array: Any, index: Any) -> Any:
    """One value of a flat contiguous array in every lane; negative indices do not count from the end."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return _splat(builder, builder.load(builder.gep(data, [args[1]])))

    return float32s(array, types.intp), generate


@intrinsic
def lane_sum(typing_context: Any, vector: Any) -> Any:
    """The sum of all lanes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start = ir.Constant(ir.FloatType(), -0.0)
        name = f"llvm.vector.reduce.fadd.v{LANES}f32"
        return _call(builder, name, ir.FloatType(), start, args[0], fastmath=("reassoc",))

    return types.float32(vector), generate


@intrinsic
def clip(typing_context: Any, vector: Any, bound: Any) -> Any:
    """Each value brought into [-bound, bound]; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, bound = args
        low = builder.fneg(bound)
        value = builder.select(builder.fcmp_ordered(">", value, bound), bound, value)
        return builder.select(builder.fcmp_ordered("<", value, low), low, value)

    return float32s(vector, bound), generate


@intrinsic
def zero_beyond(typing_context: Any, vector: Any, unclipped: Any, bound: Any) -> Any:
    """``vector`` with zeros where the size of ``unclipped`` exceeds ``bound``."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        value, unclipped, bound = args
        size = _call(builder, f"llvm.fabs.v{LANES}f32", _FLOATS, unclipped)
        return builder.select(builder.fcmp_ordered(">", size, bound), _constant(0.0), value)

    return float32s(vector, unclipped, bound), generate


@intrinsic
def positive(typing_context: Any, vector: Any) -> Any:
    """Each value, or zero where it is negative; NaN stays NaN."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        zero = _constant(0.0)
        return builder.select(builder.fcmp_ordered("<", args[0], zero), zero, args[0])

    return float32s(vector), generate


@intrinsic
def _round(typing_context: Any, vector: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return _call(builder, f"llvm.rint.v{LANES}f32", _FLOATS, args[0])

    return float32s(vector), generate


@intrinsic
def _power_of_two(typing_context: Any, exponent: Any) -> Any:
    """2 to the power of whole numbers in [-126, 127], put straight into the exponent bits."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        # Adding 1.5 * 2^23 leaves the whole number in the low bits: defined for every input, NaN included.
        shifted = builder.fadd(args[0], _constant(12582912.0 + 127.0))
        bits = builder.bitcast(shifted, _INTS)
        return builder.bitcast(builder.shl(bits, ir.Constant(_INTS, [23] * LANES)), _FLOATS)

    return float32s(exponent), generate


def _arithmetic(operation: Callable, instruction: str) -> None:
    """An instruction on two vectors, or on a vector and a float32 scalar."""

    @type_callable(operation)
    def resolve(context: Any) -> Callable:
        def typer(left: Any, right: Any) -> Any:
            kinds = {left, right}
            return float32s if float32s in kinds and kinds <= {float32s, types.float32} else None

        return typer

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vectors = [
            value if kind is float32s else _splat(builder, value)
            for kind, value in zip(signature.args, args, strict=True)
        ]
        return getattr(builder, instruction)(*vectors, flags=_FAST)

    for kinds in ((float32s, float32s), (float32s, types.float32), (types.float32, float32s)):
        lower_builtin(operation, *kinds)(generate)


_arithmetic(operator.add, "fadd")
_arithmetic(operator.sub, "fsub")
_arithmetic(operator.mul, "fmul")
_arithmetic(operator.truediv, "fdiv")


# How many functions of one name there are so far: variants that differ in the constants they close over.
_made: Counter[str] = Counter()


def _named(function: Callable, variant: object) -> Callable:
    """Give a function a name that no other has.

    Numba tells functions of one name apart by a number that it counts up within a process. Machine code that
    two processes have left on disk may hold two functions under one name and number, and where both are
    loaded, one of them runs in the other's place.
    """
    function.__qualname__ += f"_{variant}"
    return function


def inner(function: Callable) -> Any:
    """Compile a function that only compiled functions call, and that neither makes nor returns arrays.

    Without numba's run time, that is without counting references to arrays: each count is an atomic operation
    on memory that all threads share, and a step of the operator would take a hundred of them. Division by
    zero gives infinity, as in NumPy: the check that Python asks for keeps loops from being vectorised.
    """
    return _compiled(function, forceinline=False)


def inlined(function: Callable) -> Any:
    """Compile an inner function into every function that calls it: one of many arguments or few instructions.

    Within a loop over connections, or with a dozen arrays, a call would cost more than its work.
    """
    return _compiled(function, forceinline=True)


def _compiled(function: Callable, *, forceinline: bool) -> Any:
    name = function.__qualname__
    _made[name] += 1
    # Python never calls it: what would let it is a good part of the work of compiling.
    no_wrappers = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    options = {"_nrt": False, "error_model": "numpy", "forceinline": forceinline, **no_wrappers}
    return njit(_named(function, _made[name]), **options)


_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)
_LOG2_E = np.float32(1.4426950408889634)
# ln 2 in two parts, the first short enough for its product with a small whole number to be exact.
_LN_2_HIGH = np.float32(0.693359375)
_LN_2_LOW = np.float32(np.log(2.0) - 0.693359375)
_C3, _C4, _C5, _C6, _C7 = (np.float32(1 / f) for f in (6, 24, 120, 720, 5040))
# Beyond these the results no longer change in float32, and 2^k stays a finite number.
_TANH_LIMIT = np.float32(20.0)
_EXP_LIMIT = np.float32(87.0)


@inner
def _exp_minus_one(x):
    """exp(x) - 1 for |x| <= 87, to about one unit in the last place: x = k ln 2 + r, and a series for r."""
    k = _round(x * _LOG2_E)
    r = (x - k * _LN_2_HIGH) - k * _LN_2_LOW
    series = splat(_C7)
    series = series * r + _C6
    series = series * r + _C5
    series = series * r + _C4
    series = series * r + _C3
    series = series * r + _HALF
    small = r + r * r * series
    scale = _power_of_two(k)
    return scale * small + (scale - _ONE)


@inner
def tanh(x):
    """The hyperbolic tangent, exact to about two units in the last place near zero as well."""
    e = _exp_minus_one(clip(x * _TWO, splat(_TANH_LIMIT)))
    return e / (e + _TWO)


@inner
def sigmoid(x):
    """1 / (1 + exp(-x))."""
    return _ONE / (_exp_minus_one(clip(splat(np.float32(0.0)) - x, splat(_EXP_LIMIT))) + _TWO)
