"""The springs between xi and lambda as a torch module: what openmm-torch evaluates.

E(q, lam) = sum_c kappa_c/2 (xi_c(q) - lam_c)^2, the shortest way round where a component is periodic
"""

import warnings

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from aecv.models.cvs.biasing import require_script
from aecv.models.cvs.cv import CV
from aecv.models.cvs.torchscript import module_dtype


class SpringModule(torch.nn.Module):
    """Positions of all atoms [nm], shape (N, 3), and lambda, one number each -> energy [kJ/mol].

    Args:
        cv: the collective variable.
        kappa: per component [kJ/mol/CV^2], shape (d,).
    """

    def __init__(self, cv: CV, kappa: ArrayLike) -> None:
        super().__init__()
        self.module = cv.module
        self.dtype = module_dtype(cv.module)
        self.is_periodic = any(cv.periodic)
        self.atoms: Tensor
        self.kappa: Tensor
        self.periods: Tensor
        self.divisors: Tensor
        self.register_buffer("atoms", torch.tensor(cv.atom_indices))
        self.register_buffer("kappa", torch.as_tensor(kappa, dtype=torch.float64))
        self.register_buffer("periods", torch.tensor(cv.periods))
        # torch.where around a division by 0 has the gradient 0 * inf, so that nothing may be divided by 0
        self.register_buffer("divisors", torch.where(self.periods > 0.0, self.periods, torch.inf))

    def forward(self, positions: Tensor, *lam: Tensor) -> Tensor:
        frame = positions.index_select(0, self.atoms)[None].to(self.dtype)
        stretch = self.module(frame)[0].to(self.kappa.dtype) - torch.stack(lam).to(self.kappa.dtype)
        if self.is_periodic:
            stretch = stretch - self.periods * torch.round(stretch / self.divisors)
        return 0.5 * (self.kappa * stretch**2).sum()


def script_springs(cv: CV, kappa: ArrayLike, *, n_atoms: int) -> torch.jit.ScriptModule:
    """`SpringModule` as TorchScript.

    Traced, since TorchScript has no variable number of arguments; what is in the CV's own TorchScript stays
    scripted.

    Args:
        n_atoms: of the whole system.

    Raises:
        CVError: for what runs in Python, of which a trace would keep the branches of one frame.
    """
    require_script(cv, engine="torchforce")
    # any positions do that have no atoms on a line
    example = torch.rand((n_atoms, 3), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    lam = [torch.zeros((), dtype=torch.float64)] * cv.n_components
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*torch\.jit.*", category=Warning)
        return torch.jit.trace(SpringModule(cv, kappa).eval(), (example, *lam), check_trace=False)
