"""Weights of several ONNX files in one place: the same answers, fewer bytes."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tlseg_lite.export import SHARED, share_weights


def product(path, *weights):
    """A file that multiplies x (1, 64) with some matrices, one after the other."""
    nodes, last = [], "x"
    for i, _ in enumerate(weights):
        nodes.append(helper.make_node("MatMul", [last, f"w{i}"], [f"y{i}"]))
        last = f"y{i}"
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64])],
        [helper.make_tensor_value_info(last, TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(w, f"w{i}") for i, w in enumerate(weights)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    return path


def answer(path, x):
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(
        None, {"x": x}
    )[0]


@pytest.fixture
def matrices():
    return np.random.default_rng(0).normal(size=(4, 64, 64)).astype(np.float32)


def test_what_is_shared_stands_once_and_answers_stay(tmp_path, matrices):
    a, b, c, d = matrices
    files = [
        product(tmp_path / "one.onnx", a, b),
        product(tmp_path / "two.onnx", c, b, a),
        product(tmp_path / "three.onnx", d),
    ]
    x = np.ones((1, 64), np.float32)
    before = [answer(file, x) for file in files]
    alone = files[2].read_bytes()
    assert share_weights(files) == 2 * a.nbytes == (tmp_path / SHARED).stat().st_size
    assert [np.array_equal(answer(f, x), w) for f, w in zip(files, before, strict=True)] == [
        True
    ] * 3
    assert files[0].stat().st_size < 2000  # both of its matrices are gone
    assert c.nbytes < files[1].stat().st_size < c.nbytes + 2000
    assert files[2].read_bytes() == alone
    onnx.checker.check_model(str(files[1]))


def test_nothing_shared_writes_nothing(tmp_path, matrices):
    files = [product(tmp_path / f"{i}.onnx", w) for i, w in enumerate(matrices)]
    assert share_weights(files) == 0
    assert share_weights(files[:1]) == 0
    assert not (tmp_path / SHARED).exists()
    assert share_weights([]) == 0


def test_same_bytes_of_another_type_are_another_tensor(tmp_path, matrices):
    one = product(tmp_path / "one.onnx", matrices[0])
    model = onnx.load(one)
    model.graph.initializer[0].data_type = TensorProto.INT32
    onnx.save(model, tmp_path / "two.onnx")
    assert share_weights([one, tmp_path / "two.onnx"]) == 0


def test_files_of_two_folders_are_refused(tmp_path, matrices):
    (tmp_path / "other").mkdir()
    files = [product(tmp_path / n, matrices[0]) for n in ("one.onnx", "other/two.onnx")]
    with pytest.raises(ValueError, match="2 folders"):
        share_weights(files)
