"""Every argument that bn refuses: one line with name=value, what was expected and the way out."""

import math
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import bn

X = np.linspace(-1, 2, 12, dtype=np.float32).reshape(4, 3)
ONE, ZERO = np.ones(3, np.float32), np.zeros(3, np.float32)
TRAINED = bn.forward_train(X, ONE, ZERO, ZERO, ONE, eps=1e-5, momentum=0.9)[3]
EVALUATED = bn.forward_eval(X, ONE, ZERO, ZERO, ONE, eps=1e-5)[1]
NEGATIVE = np.array([1, -0.25, np.nan], np.float32)


def train(**changed: Any) -> Any:
    """Call forward_train with some arguments changed."""
    plain = {"x": X, "gamma": ONE, "beta": ZERO, "running_mean": ZERO, "running_var": ONE}
    return bn.forward_train(**{**plain, "eps": 1e-5, "momentum": 0.9, **changed})


def evaluate(**changed: Any) -> Any:
    """Call forward_eval with some arguments changed."""
    plain = {
        "x": X,
        "gamma": ONE,
        "beta": ZERO,
        "running_mean": ZERO,
        "running_var": ONE,
        "eps": 1e-5,
    }
    return bn.forward_eval(**{**plain, "eps": 1e-5, **changed})


def fold(**changed: Any) -> Any:
    """Call fold with some arguments changed."""
    plain = {"weight": X.T.copy(), "bias": ZERO, "gamma": ONE, "beta": ZERO, "running_mean": ZERO}
    return bn.fold(**{**plain, "running_var": ONE, "eps": 1e-5, **changed})


def merge(**changed: Any) -> Any:
    """Call merge_statistics with some arguments changed."""
    plain = {"counts": np.array([2, 1, 0, 4]), "means": X, "variances": X * X}
    return bn.merge_statistics(**{**plain, **changed})


def huge() -> Any:
    """Return 3 channels that pretend to have 2**40 values each."""
    return np.lib.stride_tricks.as_strided(X, (2**40, 4), (0, 4))


CASES: dict[str, tuple[Callable[..., Any], dict[str, Any], type[Exception], str]] = {
    "a list": (
        train,
        {"x": [[1.0]]},
        TypeError,
        "x=list: expected a plain NumPy array; pass ",
    ),
    "a number": (train, {"x": 1.0}, TypeError, "x=float: expected a plain NumPy array"),
    "None": (train, {"x": None}, TypeError, "x=NoneType: expected a plain NumPy array"),
    "a scalar": (train, {"x": np.float32(1)}, TypeError, "x=float32: expected a plain NumPy array"),
    "0-d array": (
        train,
        {"x": np.array(1.0)},
        ValueError,
        "x.ndim=0: expected 2 to 5, (n, c, ",
    ),
    "1 dimension": (train, {"x": X[0]}, ValueError, "x.ndim=1: expected 2 to 5"),
    "6 dimensions": (train, {"x": X.reshape(4, 3, 1, 1, 1, 1)}, ValueError, "x.ndim=6: expected 2"),
    "object array": (train, {"x": X.astype(object)}, TypeError, "x.dtype=object: expected float16"),
    "strings": (train, {"x": X.astype(str)}, TypeError, "x.dtype=<U32: expected float16"),
    "complex": (train, {"x": X.astype(complex)}, TypeError, "x.dtype=complex128: expected float16"),
    "integers": (
        train,
        {"x": X.astype(int)},
        TypeError,
        "x.dtype=int64: expected float16, float32 or float64; convert with x.astype(np.float32)",
    ),
    "booleans": (train, {"x": X > 0}, TypeError, "x.dtype=bool: expected float16"),
    "masked": (train, {"x": np.ma.array(X)}, TypeError, "x=MaskedArray: expected a plain NumPy"),
    "matrix": (train, {"x": X.view(np.matrix)}, TypeError, "x=matrix: expected a plain NumPy"),
    "subclass": (train, {"x": X.view(np.recarray)}, TypeError, "x=recarray: expected a plain"),
    "huge strides": (train, {"x": huge()}, ValueError, "gamma.shape=(3,): expected (4,)"),
    "gamma too long": (
        train,
        {"gamma": np.ones(4, np.float32)},
        ValueError,
        "gamma.shape=(4,): expected (3,), one value per channel of float32 x; check its length",
    ),
    "gamma a row": (train, {"gamma": ONE[None]}, ValueError, "gamma.shape=(1, 3): expected (3,)"),
    "gamma a list": (
        train,
        {"gamma": [1.0] * 3},
        TypeError,
        "gamma=list: expected a plain NumPy array",
    ),
    "gamma float64": (
        train,
        {"gamma": np.ones(3)},
        TypeError,
        "gamma.dtype=float64: expected float32, one value per channel of float32 x; conv",
    ),
    "gamma float16": (
        train,
        {"x": X.astype(np.float16), "gamma": np.ones(3, np.float16)},
        TypeError,
        "gamma.dtype=float16: expected float32, one value per channel of float16 x",
    ),
    "beta too short": (train, {"beta": ONE[:2]}, ValueError, "beta.shape=(2,): expected (3,)"),
    "one statistic": (
        train,
        {"running_mean": None},
        ValueError,
        "running_mean=None: expected both running statistics",
    ),
    "the other one": (train, {"running_var": None}, ValueError, "running_var=None: expected"),
    "mean too long": (
        train,
        {"running_mean": np.zeros(5, np.float32)},
        ValueError,
        "running_mean.shape=(5,): expected (3,)",
    ),
    "negative variance": (
        train,
        {"running_var": NEGATIVE},
        ValueError,
        "running_var=-0.25: expected no negative value, a variance is a mean of squares; check",
    ),
    "negative eps": (
        train,
        {"eps": -1e-5},
        ValueError,
        "eps=-1e-05: expected a finite number >= 0; pass 1e-5",
    ),
    "eps NaN": (train, {"eps": float("nan")}, ValueError, "eps=nan: expected a finite number"),
    "eps infinite": (train, {"eps": float("inf")}, ValueError, "eps=inf: expected a finite number"),
    "eps a string": (train, {"eps": "1e-5"}, TypeError, "eps='1e-5': expected a real number; pass"),
    "eps a truth": (train, {"eps": True}, TypeError, "eps=True: expected a real number"),
    "momentum over 1": (
        train,
        {"momentum": 1.1},
        ValueError,
        "momentum=1.1: expected a number from 0 to 1; pass 0.9, the share of the old value",
    ),
    "momentum below 0": (train, {"momentum": -0.1}, ValueError, "momentum=-0.1: expected a number"),
    "momentum NaN": (train, {"momentum": float("nan")}, ValueError, "momentum=nan: expected a nu"),
    "momentum None": (
        train,
        {"momentum": None},
        TypeError,
        "momentum=None: expected a real",
    ),
    "eval without state": (
        evaluate,
        {"running_mean": None, "running_var": None},
        ValueError,
        "running_mean=None: expected both running statistics; pass those of initial_state",
    ),
    "eval of integers": (evaluate, {"x": X.astype(int)}, TypeError, "x.dtype=int64: expected"),
    "eval, variance": (evaluate, {"running_var": NEGATIVE}, ValueError, "running_var=-0.25: expe"),
    "eval, eps": (evaluate, {"eps": -1.0}, ValueError, "eps=-1.0: expected a finite number >= 0"),
    "dy of another shape": (
        bn.backward_train,
        {"dy": X.T, "saved": TRAINED},
        ValueError,
        "dy.shape=(3, 4): expected (4, 3), that of x in the forward that returned saved",
    ),
    "dy of a longer batch": (
        bn.backward_train,
        {"dy": np.vstack([X, X]), "saved": TRAINED},
        ValueError,
        "dy.shape=(8, 3): expected (4, 3)",
    ),
    "dy of another dtype": (
        bn.backward_train,
        {"dy": X.astype(float), "saved": TRAINED},
        TypeError,
        "dy.dtype=float64: expected float32, that of x in the forward that returned saved; conv",
    ),
    "dy masked": (
        bn.backward_eval,
        {"dy": np.ma.array(X), "saved": EVALUATED},
        TypeError,
        "dy=MaskedArray: expected a plain NumPy array",
    ),
    "saved in inference": (
        bn.backward_train,
        {"dy": X, "saved": EVALUATED},
        TypeError,
        "saved=from forward_eval: expected what forward_train returned; pass that",
    ),
    "saved in training": (
        bn.backward_eval,
        {"dy": X, "saved": TRAINED},
        TypeError,
        "saved=from forward_train: expected what forward_eval returned; pass that",
    ),
    "saved of nothing": (
        bn.backward_train,
        {"dy": X, "saved": None},
        TypeError,
        "saved=NoneType: expected what forward_train returned; pass that",
    ),
    "jvp, x": (
        bn.jvp_train,
        {"tx": X[:2], "tgamma": None, "tbeta": None, "saved": TRAINED},
        ValueError,
        "tx.shape=(2, 3): expected (4, 3), that of x",
    ),
    "jvp, gamma": (
        bn.jvp_train,
        {"tx": None, "tgamma": ONE[:1], "tbeta": None, "saved": TRAINED},
        ValueError,
        "tgamma.shape=(1,): expected (3,)",
    ),
    "jvp, saved": (
        bn.jvp_train,
        {"tx": X, "tgamma": None, "tbeta": None, "saved": EVALUATED},
        TypeError,
        "saved=from forward_eval: expected what forward_train returned",
    ),
    "double backward, x": (
        bn.double_backward_train,
        {"ddx": X[0], "ddgamma": None, "ddbeta": None, "dy": X, "saved": TRAINED},
        ValueError,
        "ddx.shape=(3,): expected (4, 3)",
    ),
    "double backward, saved": (
        bn.double_backward_train,
        {"ddx": X, "ddgamma": None, "ddbeta": None, "dy": X, "saved": EVALUATED},
        TypeError,
        "saved=from forward_eval: expected what forward_train returned",
    ),
    "counts of floats": (
        merge,
        {"counts": np.ones(4)},
        ValueError,
        "counts=[1. 1. 1. 1.]: expected integers >= 0, one per shard",
    ),
    "counts negative": (merge, {"counts": [1, 1, 1, -1]}, ValueError, "counts=[ 1  1  1 -1]: exp"),
    "a count": (merge, {"counts": 4}, ValueError, "counts=4: expected integers >= 0, one per"),
    "counts in a row": (merge, {"counts": [[1] * 4]}, ValueError, "counts=[[1 1 1 1]]: expected"),
    "six counts": (merge, {"counts": np.ones(6)}, ValueError, "counts=[1. 1. 1. 1. 1. 1.]: expe"),
    "many counts": (
        merge,
        {"counts": np.ones(7)},
        ValueError,
        "counts=[1. 1. 1. ... 1. 1. 1.]: expected integers >= 0, one per shard",
    ),
    "too many counts": (
        merge,
        {"counts": [1] * 5},
        ValueError,
        "means.shape=(4, 3): expected (5, 3), a row for each of 5 counts; stack one row per",
    ),
    "means of one shard": (merge, {"counts": [1] * 3, "means": X[0]}, ValueError, "means.shape=(3"),
    "means of images": (merge, {"means": X[:, :, None]}, ValueError, "means.shape=(4, 3, 1): exp"),
    "too few variances": (merge, {"variances": X[:, :2]}, ValueError, "variances.shape=(4, 2): ex"),
    "too many variances": (
        merge,
        {"variances": np.hstack([X, X])},
        ValueError,
        "variances.shape=(4, 6): expected (4, 3)",
    ),
    "too few counts": (
        merge,
        {"counts": [1]},
        ValueError,
        "means.shape=(4, 3): expected (1, 3)",
    ),
    "shards differ": (
        merge,
        {"variances": X[:3]},
        ValueError,
        "variances.shape=(3, 3): expect",
    ),
    "dtypes differ": (
        merge,
        {"variances": X.astype(float)},
        TypeError,
        "variances.dtype=float64: expected float32, a row for each of 4 counts; convert with var",
    ),
    "negative variances": (
        merge,
        {"variances": -X * X},
        ValueError,
        "variances=-4.0: expected no negative value",
    ),
    "fold without state": (
        fold,
        {"running_mean": None, "running_var": None},
        ValueError,
        "running_mean=None: expected both running statistics",
    ),
    "weight of one axis": (fold, {"weight": X[0]}, ValueError, "weight.ndim=1: expected 2 to 5"),
    "groups 0": (fold, {"groups": 0}, ValueError, "groups=0: expected an integer >= 1"),
    "groups true": (fold, {"groups": True}, ValueError, "groups=True: expected an integer >= 1"),
    "groups a float": (fold, {"groups": 1.0}, ValueError, "groups=1.0: expected an integer >= 1"),
    "groups 2 of 3": (
        fold,
        {"groups": 2, "transposed": True},
        ValueError,
        "groups=2: expected a divisor of 3, the first axis of weight",
    ),
    "bias too long": (
        fold,
        {"bias": np.ones(4, np.float32)},
        ValueError,
        "bias.shape=(4,): expected (3,), one value per channel",
    ),
    "channels negative": (
        bn.initial_state,
        {"channels": -1, "dtype": np.float32},
        ValueError,
        "channels=-1: expected an integer >= 0",
    ),
    "state of integers": (
        bn.initial_state,
        {"channels": 3, "dtype": int},
        TypeError,
        "dtype=int64: expected float16, float32 or float64; pass x.dtype",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_bad_argument_gets_one_clear_line(name: str) -> None:
    """A wrong argument raises one line: name=value, what was expected; and how to fix it."""
    function, arguments, error, text = CASES[name]
    with pytest.raises(error, match=re.escape(text)) as caught:
        function(**arguments)
    line = str(caught.value)
    assert "\n" not in line, f"more than one line: {line!r}"
    assert re.match(r"[a-z_.]+=.*: expected .*; .*", line), f"not name=value, expected, fix: {line}"


OTHER = {"running_mean", "running_var", "eps", "momentum"}  # refused before any forward, or state
FORWARDS = [name for name, case in CASES.items() if case[0] is train and not OTHER & set(case[1])]


@pytest.mark.parametrize(
    ("name", "value"), [("eps", -1), ("eps", math.inf), ("momentum", -1), ("momentum", 1.0001)]
)
def test_a_layer_refuses_a_bad_number_at_once(name: str, value: float) -> None:
    """The layer refuses eps and momentum when it is made."""
    with pytest.raises(ValueError, match=f"{name}={value}: expected a"):
        bn.BatchNormalization(ONE, ZERO, **{name: value})


@pytest.mark.parametrize("missing", ["running_mean", "running_var"])
def test_a_layer_refuses_half_a_state(missing: str) -> None:
    """A layer with one of the running statistics does not start the other one anew."""
    layer = bn.BatchNormalization(ONE, ZERO, running_mean=ZERO, running_var=ONE)
    setattr(layer, missing, None)
    for training in (True, False):
        with pytest.raises(ValueError, match=f"{missing}=None: expected both running"):
            layer.forward(X, training)


@pytest.mark.parametrize("name", FORWARDS)
def test_a_layer_that_refuses_keeps_its_state(name: str) -> None:
    """A failed forward of the layer leaves the running statistics as they were, to the bit."""
    changed = dict(CASES[name][1])
    x, mean, var = changed.pop("x", X), ZERO.copy(), ONE.copy()
    plain = {"gamma": ONE, "beta": ZERO, "running_mean": mean, "running_var": var}
    layer = bn.BatchNormalization(**{**plain, **changed})
    with pytest.raises(CASES[name][2], match=re.escape(CASES[name][3])):
        layer.forward(x)
    same = layer.running_mean is mean and layer.running_var is var
    assert same, "the layer holds other running statistics"
    assert mean.tobytes() + var.tobytes() == ZERO.tobytes() + ONE.tobytes(), "state was written to"


LAYER_STATES: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "unknown name": ({"mean": ONE}, ValueError, "state=mean: expected names out of gamma, beta"),
    "list": ({"gamma": [1.0]}, TypeError, "gamma=list: expected a plain NumPy array"),
    "lengths differ": (
        {"gamma": ONE, "beta": ONE[:2]},
        ValueError,
        "beta.shape=(2,): expected (3,)",
    ),
    "half a state": ({"running_mean": ONE}, ValueError, "running_var=None: expected both"),
    "negative": (
        {"running_mean": ONE, "running_var": NEGATIVE},
        ValueError,
        "running_var=-0.25: expected no negative value",
    ),
    "matrix": ({"gamma": X}, ValueError, "gamma.shape=(4, 3): expected (channels,)"),
    "number": ({"gamma": np.array(1.0)}, ValueError, "gamma.shape=(): expected (channels,)"),
}


@pytest.mark.parametrize("name", LAYER_STATES)
def test_a_bad_state_is_not_loaded(name: str) -> None:
    """load_state_dict takes all of a state or, with one clear line, nothing of it."""
    state, error, text = LAYER_STATES[name]
    layer = bn.BatchNormalization(ONE, ZERO, running_mean=ZERO, running_var=ONE)
    with pytest.raises(error, match=re.escape(text)):
        layer.load_state_dict(state)
    kept = (layer.gamma, layer.beta, layer.running_mean, layer.running_var)
    assert all(a is b for a, b in zip(kept, (ONE, ZERO, ZERO, ONE), strict=True)), "state changed"


def test_backward_before_forward_says_so() -> None:
    """A layer's backward without a forward in this thread raises one clear line."""
    with pytest.raises(ValueError, match="saved=None: expected a forward before this backward"):
        bn.BatchNormalization(ONE, ZERO).backward(X)


def test_nan_in_the_running_variance_is_let_through() -> None:
    """The state that a NaN batch leaves behind can be trained and used on in the other channels."""
    var = np.array([1, np.nan, 1], np.float32)
    new = train(running_var=var)[2]
    assert np.isnan(new).tolist() == [False, True, False], f"running_var={new}"
    y = evaluate(running_var=var)[0]
    assert np.isnan(y).any(0).tolist() == [False, True, False], f"y={y}"


def test_memory_mapped_arrays_are_arrays(tmp_path: Any) -> None:
    """np.memmap, the one subclass that is only memory, gives the bits of the array."""
    mapped = np.memmap(tmp_path / "x", np.float32, "w+", shape=X.shape)
    mapped[:] = X
    y = train(x=mapped)[0]
    assert type(y) is np.ndarray, f"y is {type(y)}"
    assert y.tobytes() == train()[0].tobytes(), "y differs"
    state = np.memmap(tmp_path / "state", np.float32, "w+", shape=ONE.shape)
    mean = train(running_mean=state, momentum=1.0)[1]
    assert type(mean) is np.ndarray, f"running_mean is {type(mean)}"


BAD_LAYERS: dict[str, tuple[dict[str, Any], str]] = {
    "negative variance": ({"running_var": NEGATIVE}, "running_var=-0.25: expected no negative"),
    "mean too long": ({"running_mean": np.zeros(5, np.float32)}, "running_mean.shape=(5,): expect"),
    "half a state": ({"running_var": None}, "running_var=None: expected both"),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", BAD_LAYERS)
def test_a_layer_with_a_bad_state_refuses_and_keeps_it(name: str, training: bool) -> None:
    """A layer that was made with wrong running statistics says so, and changes none of them."""
    changed, text = BAD_LAYERS[name]
    state = {"running_mean": ZERO.copy(), "running_var": ONE.copy(), **changed}
    layer = bn.BatchNormalization(ONE, ZERO, **state)
    before = {key: None if a is None else a.tobytes() for key, a in state.items()}
    with pytest.raises(ValueError, match=re.escape(text)):
        layer.forward(X, train_flg=training)
    for key, a in state.items():
        assert getattr(layer, key) is a, f"the layer holds another {key}"
        assert a is None or a.tobytes() == before[key], f"{key} was written to"


def test_a_failed_forward_leaves_the_backward_before_it() -> None:
    """After a forward that was refused, backward still belongs to the last one that was not."""
    layer = bn.BatchNormalization(ONE, ZERO)
    layer.forward(X)
    wanted = layer.backward(X[::-1])
    with pytest.raises(TypeError, match=r"x\.dtype=int64"):
        layer.forward(X.astype(np.int64))
    got = layer.backward(X[::-1])
    assert got.tobytes() == wanted.tobytes(), "backward belongs to another forward"


def test_threads_that_are_refused_leave_the_others_alone() -> None:
    """Forwards that fail in some threads neither move the state nor stop those of other threads."""
    layer, alone = (bn.BatchNormalization(ONE, ZERO) for _ in range(2))
    layer.forward(X)
    refused: list[str] = []
    bad = [X.astype(np.int64), np.ones((4, 5), np.float32), X[0], [[1.0]]]

    def fails() -> None:
        for k in range(20):
            try:
                layer.forward(bad[k % 4])
            except (TypeError, ValueError) as error:
                refused.append(str(error))

    def works() -> None:
        for _ in range(20):
            layer.forward(X)

    threads = [threading.Thread(target=work) for work in (fails, works, fails, works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for _ in range(41):
        alone.forward(X)
    assert len(refused) == 40, f"{len(refused)} of 40 were refused"
    for name in ("running_mean", "running_var"):
        got, wanted = (getattr(a, name).tobytes() for a in (layer, alone))
        assert got == wanted, f"{name} is not that of the 41 forwards that were good"
