import pytest
import torch

from deepmucs_utils.segmentation.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(16, 576), (64, 64), (128, 24), (3, 8, 40), (1, 1)])
@pytest.mark.parametrize("size", [1e-12, 1.0, 1e6])
def test_singular_vectors_stay_and_singular_values_become_about_one(shape, size):
    given = size * torch.randn(shape, generator=torch.manual_seed(0))
    left, values, right = torch.linalg.svd(given, full_matrices=False)
    found = left.mT @ orthogonal(given) @ right.mT
    became = found.diagonal(dim1=-2, dim2=-1)
    known = values > 0.02 * values.amax(-1, keepdim=True)
    assert became[known].min() > 0.65 and became[known].max() < 1.15
    assert (found - torch.diag_embed(became)).abs().max() < 1e-3


def test_no_momentum_is_no_step():
    assert not orthogonal(torch.zeros(2, 4, 8)).any()


@pytest.mark.parametrize("shape", [(48, 100), (100, 48)])
def test_its_steps_are_nearly_torchs(shape):
    """Which scales a matrix by a looser bound before it iterates, in bfloat16."""
    numbers = torch.manual_seed(0)
    start = torch.randn(shape, generator=numbers)
    own, reference = (torch.nn.Parameter(start.clone()) for _ in range(2))
    options = {"lr": 0.02, "weight_decay": 0.1}
    optimisers = Muon([own], **options), torch.optim.Muon([reference], **options)
    for _ in range(20):
        own.grad = torch.randn(shape, generator=numbers)
        reference.grad = own.grad.clone()
        for optimiser in optimisers:
            optimiser.step()
    moves = [(weights.detach() - start).flatten() for weights in (own, reference)]
    assert torch.cosine_similarity(*moves, dim=0) > 0.99
    assert moves[0].norm() / moves[1].norm() == pytest.approx(1, abs=0.15)


def test_the_groups_of_a_convolution_are_matrices_of_their_own():
    numbers = torch.manual_seed(0)
    whole = torch.nn.Parameter(torch.randn(32, 4, 3, 3, generator=numbers))
    parts = [torch.nn.Parameter(part.clone()) for part in whole.detach().split(16)]
    whole.grad = torch.randn(whole.shape, generator=numbers)
    for part, gradient in zip(parts, whole.grad.split(16), strict=True):
        part.grad = gradient.clone()
    Muon([{"params": [whole], "groups": 2}], 0.1).step()
    Muon(parts, 0.1).step()
    assert torch.allclose(whole, torch.cat(parts), atol=1e-6)


def test_weights_without_a_gradient_stay():
    weights = torch.nn.Parameter(torch.ones(16, 16))
    Muon([weights], 0.1, weight_decay=0.1).step()
    assert (weights == 1).all()
