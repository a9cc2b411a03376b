"""The closed forms of ROME, MEMIT and AlphaEdit against their equations, in float64."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.model
torch = pytest.importorskip("torch")

from easyedit_unlearn.editors.alphaedit import alphaedit_update
from easyedit_unlearn.editors.lunar import redirection
from easyedit_unlearn.editors.memit import memit_update
from easyedit_unlearn.editors.rome import rome_update
from easyedit_unlearn.editors.solve import ridged
from easyedit_unlearn.editors.statistics import null_space

D_KEY, D_VALUE, FACTS = 7, 5, 3


@pytest.fixture
def problem():
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    old = draw(D_KEY, 40)
    return draw(D_KEY, FACTS), draw(D_VALUE, FACTS), old @ old.T / 40


def test_rome_maps_the_key_exactly_and_moves_the_rest_least(problem):
    keys, residuals, covariance = problem
    key, residual = keys[:, 0], residuals[:, 0]
    update = rome_update(key[:, None], residual[:, None], covariance)
    assert torch.allclose(update @ key, residual)
    assert torch.linalg.matrix_rank(update) == 1
    # optimal: any other exact update moves the old keys more, in the covariance's norm
    cost = lambda matrix: torch.trace(matrix @ covariance @ matrix.T)  # noqa: E731
    sideways = torch.randn(D_VALUE, D_KEY, dtype=torch.float64)
    sideways -= torch.outer(sideways @ key, key) / (key @ key)  # leaves the key's value alone
    assert cost(update) < cost(update + 0.1 * sideways)


def test_rome_maps_several_keys_exactly_and_moves_the_rest_least(problem):
    keys, residuals, covariance = problem
    update = rome_update(keys, residuals, covariance)
    assert torch.allclose(update @ keys, residuals)
    cost = lambda matrix: torch.trace(matrix @ covariance @ matrix.T)  # noqa: E731
    sideways = torch.randn(D_VALUE, D_KEY, dtype=torch.float64)
    sideways -= sideways @ keys @ torch.linalg.pinv(keys)  # leaves the keys' values alone
    assert cost(update) < cost(update + 0.1 * sideways)
    # one after the other, each undoes some of the one before; the same key twice is one key
    assert torch.allclose(
        rome_update(keys[:, [0, 0]], residuals[:, [0, 0]]), rome_update(keys[:, :1], residuals[:, :1])
    )


def test_rome_without_covariance_is_the_pseudoinverse():
    update = rome_update(torch.tensor([[3.0], [4.0]]).double(), torch.tensor([[10.0]]).double())
    assert torch.allclose(update, torch.tensor([[10 * 3 / 25, 10 * 4 / 25]]).double())


@pytest.mark.parametrize("noise", [0.0, 1e-7])
def test_rome_takes_keys_that_differ_by_rounding_for_one(problem, noise):
    """Questions that are alike up to the end of their subject have the same key, but for float32's rounding."""
    keys, residuals, covariance = problem
    generator = torch.Generator().manual_seed(1)
    twice = keys[:, [0, 0]] + noise * torch.randn(D_KEY, 2, generator=generator, dtype=torch.float64)
    one = rome_update(keys[:, :1], residuals[:, :1], covariance)
    assert torch.allclose(rome_update(twice, residuals[:, [0, 0]] + noise, covariance), one, atol=1e-4)


def test_memit_is_where_the_gradient_of_its_objective_vanishes(problem):
    keys, residuals, covariance = problem
    update = memit_update(keys, residuals, covariance, weight=2.5).requires_grad_()
    objective = ((update @ keys - residuals) ** 2).sum() + 2.5 * torch.trace(update @ ridged(covariance) @ update.T)
    (gradient,) = torch.autograd.grad(objective, update)
    assert gradient.abs().max() < 1e-10


def test_memit_in_one_dimension():
    one = lambda x: torch.tensor([[x]], dtype=torch.float64)  # noqa: E731
    assert memit_update(one(2.0), one(3.0), one(4.0), 0.5).item() == pytest.approx(3 * 2 / (0.5 * 4 + 2 * 2))


def test_alphaedit_is_its_equation_and_stays_in_the_null_space(problem):
    keys, residuals, covariance = problem
    projection = null_space(covariance, dimensions=4)
    before = keys[:, 2:]
    previous = before @ before.T
    update = alphaedit_update(keys, residuals, projection, 0.1, before)
    inverse = torch.linalg.inv(
        previous @ projection + keys @ keys.T @ projection + 0.1 * torch.eye(D_KEY, dtype=torch.float64)
    )
    assert torch.allclose(update, residuals @ keys.T @ projection @ inverse)
    assert torch.allclose(update @ projection, update)


def test_the_null_space_is_an_orthogonal_projection_onto_least_variance(problem):
    covariance = torch.diag(torch.tensor([5.0, 0.1, 3.0, 0.01], dtype=torch.float64))
    for chosen in ({"dimensions": 2}, {"threshold": 0.5}):
        projection = null_space(covariance, **chosen)
        assert torch.allclose(projection, torch.diag(torch.tensor([0.0, 1.0, 0.0, 1.0], dtype=torch.float64)))
    projection = null_space(problem[2], dimensions=3)
    assert torch.allclose(projection @ projection, projection)
    assert torch.allclose(projection, projection.T)
    with pytest.raises(ValueError, match="either threshold or dimensions"):
        null_space(covariance)


def test_shapes_are_named():
    with pytest.raises(ValueError, match=r"one column each a fact, got \[\(2, 3\), \(2, 4\)\]"):
        memit_update(torch.ones(2, 3), torch.ones(2, 4), torch.eye(2), 1.0)


def test_redirection_is_the_minimum_of_lunars_squared_error():
    """sum_i |D k_i - r|^2 + tr(D M D^T): its gradient is zero there; rescaled, the mean move is 1."""
    torch.manual_seed(0)
    moved, others = torch.randn(6, 3, dtype=torch.float64), torch.randn(6, 9, dtype=torch.float64)
    kept, r = others @ others.T, torch.randn(4, dtype=torch.float64)
    u, mean = redirection(moved, kept, ridge=0)
    assert (moved.T @ u).mean().item() == pytest.approx(mean)
    further, one = redirection(moved, kept, ridge=0, rescale=True)
    assert (moved.T @ further).mean().item() == pytest.approx(1) == one
    assert torch.allclose(further * mean, u)
    update = torch.outer(r, u).requires_grad_()
    error = ((update @ moved - r[:, None]) ** 2).sum() + ((update @ others) ** 2).sum()
    (gradient,) = torch.autograd.grad(error, update)
    assert gradient.abs().max().item() < 1e-9


def test_redirection_of_one_key_among_orthogonal_ones_leaves_them():
    keys = torch.eye(4, dtype=torch.float64)
    u, _ = redirection(keys[:, :1], keys[:, 1:] @ keys[:, 1:].T)
    assert torch.allclose(u, keys[:, 0], atol=1e-5)
    with pytest.raises(ValueError, match="no keys to move"):
        redirection(keys[:, :0], keys)


def test_a_covariance_of_few_texts_is_inverted_without_blowing_up():
    """Of rank 2 in 7 dimensions, with a negative eigenvalue from rounding: what else is asked for hardly moves."""
    generator = torch.Generator().manual_seed(2)
    few = torch.randn(D_KEY, 2, generator=generator, dtype=torch.float64)
    covariance = few @ few.T - 1e-12 * torch.eye(D_KEY, dtype=torch.float64)
    key, residual = torch.randn(D_KEY, 1, generator=generator, dtype=torch.float64), torch.ones(1, 1).double()
    for update in (rome_update(key, residual, covariance), memit_update(key, residual, covariance, 1e-3)):
        assert (update @ key).item() == pytest.approx(1.0, abs=1e-3)
        assert update.norm() * key.norm() < 10  # it was 1e5 without a ridge


def test_a_ridge_is_a_share_of_the_mean_diagonal():
    assert torch.equal(ridged(torch.diag(torch.tensor([1.0, 3.0])), 0.5), torch.diag(torch.tensor([2.0, 4.0])))
