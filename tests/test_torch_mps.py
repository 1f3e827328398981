"""The MPS path on CPU tensors, with the reference implementation of late-interaction-kernels instead of Metal."""

from __future__ import annotations

import sys
from unittest import mock

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from helpers.torch_cases import LAYOUTS  # noqa: E402

from serotine.maxsim import torch as maxsim  # noqa: E402
from serotine.maxsim.torch import backend  # noqa: E402


@pytest.fixture
def mps() -> mock.MagicMock:
    with mock.patch.object(backend, "of", return_value="mps") as patched:
        yield patched


@pytest.fixture
def kernels(mps: mock.MagicMock, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("late_interaction_kernels", reason="late-interaction-kernels is not installed")
    monkeypatch.setenv("LIK_FORCE_MPS_BACKEND", "reference")


def test_without_the_package_the_error_says_what_to_install(
    mps: mock.MagicMock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "late_interaction_kernels.mps", None)
    with pytest.raises(RuntimeError, match="pip install late-interaction-kernels"):
        maxsim.score_contrastive(torch.ones(1, 2, 4), torch.ones(3, 4), torch.tensor([0, 3]))


@pytest.mark.usefixtures("mps")
def test_argmax_raises_with_an_explanation() -> None:
    with pytest.raises(RuntimeError, match="no argmax"):
        maxsim.score_contrastive_with_argmax(torch.ones(1, 2, 4), torch.ones(3, 4), torch.tensor([0, 3]))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("seed", range(8))
def test_scores_and_gradients_follow_the_contract(layout: str, seed: int, request: pytest.FixtureRequest) -> None:
    call = LAYOUTS[layout](seed, 3, 4, 3, 5, 8, torch.float32)
    call.queries.requires_grad_()
    call.documents.requires_grad_()
    expected = call.run("_train")
    expected.nan_to_num(neginf=0.0).square().sum().backward()
    assert call.queries.grad is not None
    assert call.documents.grad is not None
    expected_gradients = call.queries.grad.clone(), call.documents.grad.clone()
    request.getfixturevalue("kernels")
    torch.testing.assert_close(call.run(), expected.detach())
    call.queries.grad.zero_()
    call.documents.grad.zero_()
    call.run("_train").nan_to_num(neginf=0.0).square().sum().backward()
    if layout != "padded":  # where winners tie, several gradients are valid
        torch.testing.assert_close((call.queries.grad, call.documents.grad), expected_gradients)


@pytest.mark.usefixtures("kernels")
def test_nonfinite_input_raises() -> None:
    with pytest.raises(ValueError, match="allow_nonfinite=True"):
        maxsim.score_contrastive(torch.full((1, 2, 4), torch.nan), torch.ones(3, 4), torch.tensor([0, 3]))
