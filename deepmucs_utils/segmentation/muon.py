"""Muon: the momentum of a layer, made orthogonal, is its step.

AdamW scales the step of each weight by itself. The gradient of a layer is a matrix, and a few of
its singular values outweigh the others by far, so most directions are learnt late. Muon sets all of
them to one (Jordan et al., *Muon: An optimizer for hidden layers in neural networks*, 2024).
"""

import torch

STEPS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of Jordan et al.


def orthogonal(matrices):
    """Matrices with the singular vectors of the given ones, and singular values near one.

    Newton–Schulz iterations: each applies an odd polynomial to the singular values. They are done
    on the Gram matrix, which is the smaller one; all its polynomials commute.

    Parameters
    ----------
    matrices : Tensor
        (..., rows, columns), float.

    Returns
    -------
    Tensor
        Of the same shape. Singular values above about 1/100 of the largest become 0.68 to 1.2.
    """
    if matrices.shape[-2] > matrices.shape[-1]:
        return orthogonal(matrices.mT).mT
    gram = matrices @ matrices.mT
    largest = gram.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-30)  # at least, of its eigenvalues
    gram = gram / largest
    a, b, c = COEFFICIENTS
    one = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    whole = one
    for _ in range(STEPS):
        factor = a * one + gram @ (b * one + c * gram)
        whole = factor @ whole
        gram = factor @ gram @ factor
    return whole @ matrices / largest.sqrt()


class Muon(torch.optim.Optimizer):
    """Steps along the orthogonalised momentum (Nesterov), with decoupled weight decay.

    Parameters
    ----------
    params : iterable
        Tensors or groups: matrices, or weights of convolutions, whose outputs are the rows. The
        groups of a grouped convolution are matrices of their own.
    lr : float
        Length of a step in every direction; √(rows / columns) times that for tall matrices.
    momentum, weight_decay : float
    """

    def __init__(self, params, lr, momentum=0.95, weight_decay=0.0):
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self):
        """Change all weights that have a gradient."""
        for group in self.param_groups:
            for weights in group["params"]:
                if weights.grad is not None:
                    self._change(weights, **group)

    def _change(self, weights, lr, momentum, weight_decay, groups=1, **_):
        state = self.state[weights]
        if not state:
            state["momentum"] = torch.zeros_like(weights)
        mean = state["momentum"].lerp_(weights.grad, 1 - momentum)
        ahead = weights.grad.lerp(mean, momentum)
        matrices = ahead.reshape(groups, len(weights) // groups, -1)
        rows, columns = matrices.shape[-2:]
        step = orthogonal(matrices) * max(1, rows / columns) ** 0.5
        weights.mul_(1 - lr * weight_decay).sub_(step.reshape(weights.shape), alpha=lr)
