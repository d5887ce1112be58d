"""Tiny nets for tests: ONNX graphs that say what they are told to, whatever the picture."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NAMES = ["can", "bin", "dog"]
METADATA = {"names": "{0: 'can', 1: 'bin', 2: 'dog'}"}


def make_net(
    path: Path,
    outputs: Mapping[str, np.ndarray[Any, Any]],
    *,
    size: tuple[int | str, int | str] = (64, 64),
    dtype: int = TensorProto.FLOAT,
    channels_last: bool = False,
    metadata: Mapping[str, str] = METADATA,
    more_inputs: Sequence[str] = (),
) -> Path:
    """Write a net with one input picture of `size` (height, width) that answers `outputs`."""
    shape = [1, *size, 3] if channels_last else [1, 3, *size]
    inputs = [helper.make_tensor_value_info("images", dtype, shape)]
    inputs += [helper.make_tensor_value_info(name, TensorProto.INT64, [1, 2]) for name in more_inputs]
    constants = [numpy_helper.from_array(value, f"{name}_value") for name, value in outputs.items()]
    nodes = [helper.make_node("Identity", [f"{name}_value"], [name]) for name in outputs]
    results = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in outputs.items()
    ]
    graph = helper.make_graph(nodes, "net", inputs, results, constants)
    return _saved(path, graph, metadata)


def make_colour_net(path: Path, *, dtype: int = TensorProto.FLOAT, metadata: Mapping[str, str] = METADATA) -> Path:
    """Write a YOLOX-shaped net whose score of class 0 in every cell is the mean of the first channel / 255."""
    rows = np.zeros((1, 84, 8), np.float32)
    rows[..., 4] = 1
    picked = np.zeros((1, 84, 8), np.float32)
    picked[..., 5] = 1 / 255
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["float", "zero"], ["first"], axis=1),
        helper.make_node("ReduceMean", ["first"], ["mean"], keepdims=1),
        helper.make_node("Reshape", ["mean", "flat"], ["one"]),
        helper.make_node("Mul", ["picked", "one"], ["score"]),
        helper.make_node("Add", ["rows", "score"], ["output"]),
    ]
    constants = [
        numpy_helper.from_array(np.array(0), "zero"),
        numpy_helper.from_array(np.array([1, 1, 1]), "flat"),
        numpy_helper.from_array(picked, "picked"),
        numpy_helper.from_array(rows, "rows"),
    ]
    inputs = [helper.make_tensor_value_info("images", dtype, [1, 3, 64, 64])]
    results = [helper.make_tensor_value_info("output", TensorProto.FLOAT, [1, 84, 8])]
    return _saved(path, helper.make_graph(nodes, "net", inputs, results, constants), metadata)


def _saved(path: Path, graph: onnx.GraphProto, metadata: Mapping[str, str]) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(model, dict(metadata))
    onnx.save(model, str(path))
    return path


def can_finder(path: Path, *, seen: float = 0.8) -> Path:
    """Write a net that finds a can in the left upper quarter of everything."""
    return make_net(
        path,
        {"boxes": np.array([[[0, 0, 32, 32]]], np.float32), "scores": np.array([[[seen, 0, 0]]], np.float32)},
        metadata={"names": '["garbage", "bin", "dog"]'},
    )
