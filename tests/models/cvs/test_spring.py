"""The springs between xi and lambda in torch."""

import math

import numpy as np
import pytest
import torch

from aecv.models.cvs.cv import CV
from aecv.models.cvs.internal_map import InternalMap
from aecv.models.cvs.spring import SpringModule, script_springs
from aecv.numerics.kernels.internal import InternalCoordinates

KAPPA = (50.0, 300.0)


def torsion_and_distance() -> CV:
    """A dihedral of atoms 0 to 3, periodic, and the distance of atoms 0 and 3, which is not."""
    return CV(
        source="mixed",
        map=InternalMap(
            internal=InternalCoordinates(
                kinds=("dihedral", "distance"), atoms=((0, 1, 2, 3), (0, 3)), axes=(None, None), n_atoms=4
            )
        ),
        atom_indices=np.arange(4),
        cv_range=np.array([[-math.pi, math.pi], [0.1, 1.0]]),
        periodic=(True, False),
    )


@pytest.mark.parametrize("scripted", [False, True])
def test_one_periodic_component_beside_one_that_is_not(scripted: bool) -> None:
    """E = sum kappa/2 (xi - lam)^2 and its gradient, lambda a turn away: kappa (xi - lam) grad xi."""
    cv, kappa = torsion_and_distance(), np.array(KAPPA)
    frame = np.array([[0.1, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.2, 0.1], [0.1, 0.3, 0.15]])
    xi, gradient = cv.with_gradient(frame)
    springs = script_springs(cv, kappa, n_atoms=4) if scripted else SpringModule(cv, kappa)
    positions = torch.tensor(frame, requires_grad=True)
    stretch = np.array([0.2, 0.05])
    lam = xi[0] - stretch + [2.0 * math.pi, 0.0]
    energy = springs(positions, *torch.tensor(lam))
    (slope,) = torch.autograd.grad(energy, positions)
    assert energy.item() == pytest.approx(0.5 * float(kappa @ stretch**2), rel=1e-10)
    np.testing.assert_allclose(
        slope.numpy(), np.einsum("c,cia->ia", kappa * stretch, gradient[0]), rtol=1e-9, atol=1e-9
    )
