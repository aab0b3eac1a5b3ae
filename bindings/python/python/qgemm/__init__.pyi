import os
from collections.abc import Iterable, Sequence
from typing import Any, Literal, Protocol, TypeAlias, TypedDict, TypeVar, final, overload

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

class _DLPack(Protocol):
    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

class _Writer(Protocol):
    def write(self, data: bytes, /) -> Any: ...

class _Reader(Protocol):
    def read(self) -> bytes: ...

_Path: TypeAlias = str | os.PathLike[str]
_Array: TypeAlias = npt.NDArray[Any] | _DLPack | Buffer
_Saved: TypeAlias = _Path | _Reader | _Array
_Numbers: TypeAlias = float | Sequence[float] | _Array
_Integers: TypeAlias = int | Sequence[int] | _Array
_Scale: TypeAlias = _Numbers | tuple[_Numbers, _Numbers]
_Bytes: TypeAlias = Literal["i8", "u8", "int8", "uint8"] | type[np.int8] | type[np.uint8] | np.dtype[Any]
_Output: TypeAlias = (
    _Bytes | Literal["i32", "f32", "int32", "float32"] | type[np.int32] | type[np.float32]
)
_Activation: TypeAlias = Literal[
    "relu", "relu6", "gelu", "gelu_tanh", "silu", "sigmoid", "tanh", "hard_swish"
]
_Rounding: TypeAlias = Literal["gemmlowp", "ruy", "single", "reference"]
_Clamp: TypeAlias = tuple[float | None, float | None]
_Out = TypeVar("_Out")

__all__ = [
    "GroupwiseB",
    "PackedB",
    "activation_table",
    "dequantize",
    "dynamic_matmul",
    "info",
    "matmul",
    "matmul_batch",
    "quantize",
    "quantize_columns",
    "quantize_rows",
    "release_thread_memory",
    "saved_info",
]

__version__: str

@final
class PackedB:
    def __new__(cls, w: _Array, activations: _Bytes | None = "i8") -> PackedB: ...
    @property
    def k(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def dtype(self) -> Literal["int8", "uint8"]: ...
    @property
    def activations(self) -> Literal["int8", "uint8"]: ...
    @property
    def kernel(self) -> str: ...
    @property
    def nbytes(self) -> int: ...
    def unpack(self) -> npt.NDArray[Any]: ...
    def save(self, path_or_file: _Path | _Writer) -> None: ...
    @classmethod
    def load(cls, source: _Saved, repack: bool = True) -> PackedB: ...
    @classmethod
    def map(cls, path: _Path, repack: bool = True) -> PackedB: ...
    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...

@final
class GroupwiseB:
    def __new__(
        cls,
        codes: _Array,
        scales: _Array,
        group: int,
        bits: int = 4,
        zeros: int | _Array | None = None,
        minimums: _Array | None = None,
    ) -> GroupwiseB: ...
    @staticmethod
    def quantize(
        w: _Array,
        bits: int = 4,
        group: int = 32,
        scheme: Literal["symmetric", "asymmetric"] = "symmetric",
    ) -> GroupwiseB: ...
    @staticmethod
    def from_onnx(
        b: _Array,
        scales: _Array,
        zero_points: _Array | None = None,
        *,
        k: int,
        block_size: int,
        bits: int = 4,
    ) -> GroupwiseB: ...
    @staticmethod
    def from_gguf(
        blocks: _Array, kind: Literal["Q4_0", "Q4_1", "Q8_0"], shape: tuple[int, int]
    ) -> GroupwiseB: ...
    @staticmethod
    def from_gptq(
        qweight: _Array,
        qzeros: _Array,
        scales: _Array,
        *,
        group: int,
        bits: int = 4,
        g_idx: _Array | None = None,
        zeros_less_one: bool = True,
    ) -> GroupwiseB: ...
    @staticmethod
    def from_awq(qweight: _Array, qzeros: _Array, scales: _Array, *, group: int) -> GroupwiseB: ...
    @overload
    def matmul(
        self,
        x: _Array,
        bias: _Numbers | None = None,
        activations: Literal["per_row_and_group", "per_row", "per_row_asymmetric"] | None = ...,
        a_zero: _Integers | None = 0,
        scale: _Scale | None = None,
        clamp: _Clamp | None = None,
        residual: _Array | None = None,
        activation: _Activation | None = None,
        out: None = None,
        threads: int | None = None,
    ) -> npt.NDArray[np.float32]: ...
    @overload
    def matmul(
        self,
        x: _Array,
        bias: _Numbers | None = None,
        activations: Literal["per_row_and_group", "per_row", "per_row_asymmetric"] | None = ...,
        a_zero: _Integers | None = 0,
        scale: _Scale | None = None,
        clamp: _Clamp | None = None,
        residual: _Array | None = None,
        activation: _Activation | None = None,
        *,
        out: _Out,
        threads: int | None = None,
    ) -> _Out: ...
    def dequantize(self) -> npt.NDArray[np.float32]: ...
    def codes(self) -> npt.NDArray[Any]: ...
    def save(self, path_or_file: _Path | _Writer) -> None: ...
    @classmethod
    def load(cls, source: _Saved) -> GroupwiseB: ...
    @classmethod
    def map(cls, path: _Path) -> GroupwiseB: ...
    def __reduce__(self) -> tuple[Any, tuple[bytes]]: ...
    @property
    def k(self) -> int: ...
    @property
    def n(self) -> int: ...
    @property
    def shape(self) -> tuple[int, int]: ...
    @property
    def bits(self) -> int: ...
    @property
    def group(self) -> int: ...
    @property
    def dtype(self) -> Literal["int8", "uint8"]: ...
    @property
    def kernel(self) -> str: ...
    @property
    def nbytes(self) -> int: ...

@overload
def matmul(
    a: _Array,
    b: PackedB | _Array,
    a_zero: _Integers | None = 0,
    b_zero: _Integers | None = 0,
    bias: _Numbers | None = None,
    scale: _Scale | None = None,
    out_zero: int | None = 0,
    out_dtype: _Output | None = None,
    clamp: _Clamp | None = None,
    residual: _Array | None = None,
    activation: _Activation | None = None,
    out: None = None,
    threads: int | None = None,
    *,
    multipliers: tuple[_Integers, _Integers] | None = None,
    rounding: _Rounding | None = None,
    factors: _Numbers | None = None,
    residual_scale: float | None = None,
    residual_zero: int | None = None,
    table: _Array | None = None,
    rows: _Integers | None = None,
) -> npt.NDArray[Any]: ...
@overload
def matmul(
    a: _Array,
    b: PackedB | _Array,
    a_zero: _Integers | None = 0,
    b_zero: _Integers | None = 0,
    bias: _Numbers | None = None,
    scale: _Scale | None = None,
    out_zero: int | None = 0,
    out_dtype: _Output | None = None,
    clamp: _Clamp | None = None,
    residual: _Array | None = None,
    activation: _Activation | None = None,
    *,
    out: _Out,
    threads: int | None = None,
    multipliers: tuple[_Integers, _Integers] | None = None,
    rounding: _Rounding | None = None,
    factors: _Numbers | None = None,
    residual_scale: float | None = None,
    residual_zero: int | None = None,
    table: _Array | None = None,
    rows: _Integers | None = None,
) -> _Out: ...

class _Product(TypedDict, total=False):
    a: _Array
    b: PackedB | _Array
    a_zero: _Integers | None
    b_zero: _Integers | None
    bias: _Numbers | None
    scale: _Scale | None
    out_zero: int | None
    out_dtype: _Output | None
    clamp: _Clamp | None
    residual: _Array | None
    activation: _Activation | None
    out: Any
    multipliers: tuple[_Integers, _Integers] | None
    rounding: _Rounding | None
    factors: _Numbers | None
    residual_scale: float | None
    residual_zero: int | None
    table: _Array | None
    rows: _Integers | None

def matmul_batch(products: Iterable[_Product], threads: int | None = None) -> list[Any]: ...
def dynamic_matmul(
    x: _Array,
    b: PackedB | _Array,
    scale: _Scale,
    bias: _Numbers | None = None,
    b_zero: _Integers | None = 0,
    out_zero: int | None = 0,
    out_dtype: _Output | None = None,
    clamp: _Clamp | None = None,
    residual: _Array | None = None,
    activation: _Activation | None = None,
    out: Any = None,
    threads: int | None = None,
    *,
    asymmetric: bool = False,
    per_tensor: bool = False,
    residual_scale: float | None = None,
    residual_zero: int | None = None,
    table: _Array | None = None,
    return_params: bool = False,
    rows: _Integers | None = None,
) -> Any: ...
def quantize(
    x: _Array, scale: float, zero_point: int | None = 0, dtype: _Bytes | None = "i8"
) -> npt.NDArray[Any]: ...
def dequantize(q: _Array, scale: float, zero_point: int | None = 0) -> npt.NDArray[np.float32]: ...
def quantize_columns(w: _Array) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]: ...
def quantize_rows(x: _Array) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]: ...
def activation_table(
    activation: _Activation,
    in_scale: float,
    in_zero: int | None = 0,
    out_scale: float | None = None,
    out_zero: int | None = 0,
    dtype: _Bytes | None = "i8",
) -> npt.NDArray[Any]: ...
def saved_info(source: _Saved) -> dict[str, Any]: ...
def info() -> dict[str, Any]: ...
def release_thread_memory() -> None: ...
