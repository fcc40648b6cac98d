"""The blocks of a PLUMED input below the CV: a bias along xi_1, xi_2, ... and what is printed.

Source: PLUMED's src/drr/DynamicReferenceRestraining.cpp (kappa, mass and thermostat of lambda are ours: m =
kappa (tau/2 pi)^2, friction in 1/ps, a ramp from FULLSAMPLES/2 to FULLSAMPLES samples), src/bias/MetaD.cpp,
src/opes/OPESmetad.cpp.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from aecv.ground.arrays import FloatArray
from aecv.ground.units import thermal_energy
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.results.exports.subject import METAD_SIGMAS, ExportedBias, ExportedCV, number, short, sigma, tau_ps

PACE = 500
"""Steps between kernels of metadynamics and OPES."""
HEIGHT_KJ_MOL = 1.2
"""First kernels of metadynamics: half of kT at 300 K."""
KERNEL_SPACINGS = 3
"""Points of metadynamics' grid per width of a kernel."""


def bias_blocks(cv: ExportedCV, bias: ExportedBias) -> str:
    """The text below the CV.

    Raises:
        GridError: when the bias needs a grid and there is none, or it is of another dimension.
    """
    if bias.kind == "none":
        return "# No bias.\n\n" + print_block(cv.labels, bias)
    extended = bias.coupled(cv)
    if bias.kind == "drr":
        fictitious = [f"eabf.{label}_fict" for label in cv.labels]
        return drr_block(cv, bias, extended) + print_block([*cv.labels, *fictitious], bias)
    block, label = (metad_block, "metad") if bias.kind == "metad" else (opes_block, "opes")
    printed = [*cv.labels, f"{label}.bias"]
    return walls(cv, extended) + block(cv, bias, extended) + print_block(printed, bias)


def drr_block(cv: ExportedCV, bias: ExportedBias, extended: ExtendedVariable) -> str:
    """Extended ABF with the grid, coupling and dynamics of lambda of our run."""
    grid, d = extended.grid, cv.n_components
    lower, upper = bounds(extended)
    bins = ", ".join(short(factor) for factor in sigma(extended) / grid.widths)
    return _block(
        [
            "Extended ABF (module drr, which needs Boost's serialization): lambda on a spring to xi, an",
            "adaptive biasing force on lambda, reflecting walls for it at the ends of the grid.",
            f"  KAPPA [kJ/mol/CV^2] = kT/sigma^2, with sigma/bin width = {bins} (PLUMED takes 1).",
            "  Change it together with the grid.",
            "  TAU [ps], FRICTION [1/ps]: period and friction of lambda. TAU of at least 20 time steps.",
            "  FULLSAMPLES: samples in a bin from which its force counts in full; half of them: from which",
            "  on at all.",
            "  CZAR (the free energy along xi) is always on; TEXTOUTPUT writes it as eabf.czar.grad next to",
            "  eabf.abf.grad (along lambda), in kJ/mol/CV.",
            f"  aecv does not push lambda where its free energy exceeds {short(bias.barrier_kj_mol)} kJ/mol;",
            "  DRR knows no such ceiling. Narrow the grid if it drives the molecule where it must not go.",
            "  The first xi must lie on the grid.",
        ],
        "eabf: DRR ...",
        {
            "ARG": ",".join(cv.labels),
            "GRID_MIN": lower,
            "GRID_MAX": upper,
            "GRID_BIN": ",".join(map(str, grid.n_bins)),
            "KAPPA": ",".join(number(kappa) for kappa in extended.kappa),
            "TAU": ",".join([short(tau_ps(extended))] * d),
            "FRICTION": ",".join([short(extended.friction_per_ps)] * d),
            "REFLECTINGWALL": ",".join("0" if flag else "1" for flag in cv.periodic),
            "FULLSAMPLES": str(extended.full_samples),
            "TEMP": short(bias.temperature_k),
            "OUTPUTFREQ": str(bias.output_steps),
            "OUTPUTPREFIX": "eabf",
        },
        ["TEXTOUTPUT"],
    )


def metad_block(cv: ExportedCV, bias: ExportedBias, extended: ExtendedVariable) -> str:
    """Well-tempered metadynamics; the grid reaches beyond the walls."""
    grid = extended.grid
    widths = kernel_widths(extended)
    reach = np.where(cv.periodic, 0.0, 0.5 * np.ptp([grid.lower, grid.upper], axis=0))
    lower, upper = bounds(extended, reach)
    span = np.ptp([grid.lower, grid.upper], axis=0) + 2.0 * reach
    factor = bias.barrier_kj_mol / thermal_energy(bias.temperature_k)
    return _block(
        [
            "Well-tempered metadynamics.",
            f"  SIGMA [CV]: 1/{METAD_SIGMAS} of the range. HEIGHT [kJ/mol]. PACE: steps between kernels.",
            f"  BIASFACTOR: {short(bias.barrier_kj_mol)} kJ/mol in units of kT.",
        ],
        "metad: METAD ...",
        {
            "ARG": ",".join(cv.labels),
            "SIGMA": ",".join(short(width) for width in widths),
            "HEIGHT": short(HEIGHT_KJ_MOL),
            "PACE": str(PACE),
            "BIASFACTOR": f"{factor:.4g}",
            "TEMP": short(bias.temperature_k),
            "GRID_MIN": lower,
            "GRID_MAX": upper,
            "GRID_BIN": ",".join(str(round(n)) for n in KERNEL_SPACINGS * span / widths),
            "FILE": "HILLS",
        },
        [],
    )


def opes_block(cv: ExportedCV, bias: ExportedBias, extended: ExtendedVariable) -> str:
    """OPES in the metadynamics-like variant."""
    return _block(
        [
            "OPES (module opes).",
            f"  SIGMA [CV]: 1/{METAD_SIGMAS} of the range, PLUMED narrows it. PACE: steps between kernels.",
            "  BARRIER [kJ/mol]: free energies beyond it are not biased away.",
        ],
        "opes: OPES_METAD ...",
        {
            "ARG": ",".join(cv.labels),
            "SIGMA": ",".join(short(width) for width in kernel_widths(extended)),
            "PACE": str(PACE),
            "BARRIER": short(bias.barrier_kj_mol),
            "TEMP": short(bias.temperature_k),
            "FILE": "KERNELS",
        },
        [],
    )


def walls(cv: ExportedCV, extended: ExtendedVariable) -> str:
    """Walls for xi at the ends of the range; none along periodic components."""
    chosen = [c for c in range(cv.n_components) if not cv.periodic[c]]
    if not chosen:
        return ""
    labels = ",".join(cv.labels[c] for c in chosen)
    kappa = ",".join(short(extended.kappa[c]) for c in chosen)
    lower = ",".join(number(extended.grid.lower[c]) for c in chosen)
    upper = ",".join(number(extended.grid.upper[c]) for c in chosen)
    return (
        "# Walls at the ends of the range that the CV was trained on, KAPPA [kJ/mol/CV^2].\n"
        f"LOWER_WALLS ARG={labels} AT={lower} KAPPA={kappa}\n"
        f"UPPER_WALLS ARG={labels} AT={upper} KAPPA={kappa}\n\n"
    )


def print_block(names: Sequence[str], bias: ExportedBias) -> str:
    """PRINT of everything that is followed."""
    return (
        f"# Every {bias.print_steps} steps a line: time [ps] and these values.\n"
        f"PRINT ARG={','.join(names)} STRIDE={bias.print_steps} FILE=COLVAR FMT=%.9f\n"
    )


def bounds(extended: ExtendedVariable, reach: ArrayLike = 0.0) -> tuple[str, str]:
    """Ends of the grid, moved outwards by `reach`; a periodic component has PLUMED's own, -pi and pi."""
    grid = extended.grid
    outwards = np.broadcast_to(np.asarray(reach, dtype=float), (grid.n_dims,))
    lower = np.array(grid.lower) - outwards
    upper = np.array(grid.upper) + outwards
    ends = [
        ("-pi", "pi") if periodic else (number(low), number(high))
        for low, high, periodic in zip(lower, upper, grid.periodic, strict=True)
    ]
    return ",".join(low for low, _ in ends), ",".join(high for _, high in ends)


def kernel_widths(extended: ExtendedVariable) -> FloatArray:
    """Width of a kernel per component [CV], shape (d,)."""
    return np.asarray(np.ptp([extended.grid.lower, extended.grid.upper], axis=0) / METAD_SIGMAS)


def _block(comments: Sequence[str], head: str, keywords: dict[str, str], flags: Sequence[str]) -> str:
    lines = [f"# {comment}" for comment in comments]
    lines += [head, *(f"  {key}={value}" for key, value in keywords.items()), *(f"  {f}" for f in flags)]
    return "\n".join([*lines, "...", "", ""])
