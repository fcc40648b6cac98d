"""F(phi, psi) of alanine dipeptide by OpenMM's own metadynamics: a reference without any code of ours in it.

    python benchmarks/reference_phi_psi.py [--build-ns 10] [--ns 50] [--replicas 2] [--out reference.npz]

Well-tempered metadynamics on the two torsions [1] builds a bias V(phi, psi); it is then frozen, and the
frames that follow are an equilibrium sample of a known potential: their weights are exp(+V/kT), without any
question of what the bias was at the time. Replicas are independent from their random seeds on.

Prints Delta F(0 < phi < 2.2 against the rest) with its standard error over blocks and the number of visits,
and writes phi, psi and weights of all frames, for `compare_phi_psi.py`.

[1] Barducci, Bussi, Parrinello, Phys. Rev. Lett. 100, 020603 (2008), doi:10.1103/PhysRevLett.100.020603.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import openmm
from openmm import app, unit

from aecv.ground.arrays import FloatArray
from aecv.ground.files import write_arrays
from aecv.ground.units import thermal_energy
from aecv.molecules.geometry import dihedrals
from aecv.molecules.spec import load_system
from aecv.numerics.free_energy.integration import delta_f
from aecv.sampling.system.molecular_system import build

BIAS_FACTOR, HEIGHT_KJ_MOL, WIDTH_RAD, STRIDE = 20.0, 1.0, 0.3, 500
FRAME_STEPS, BLOCKS = 100, 10


def main() -> None:
    """Parse, run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build-ns", type=float, default=10.0, help="metadynamics before the bias is frozen")
    parser.add_argument("--ns", type=float, default=50.0, help="with the frozen bias, per replica")
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("reference.npz"))
    options = parser.parse_args()
    phi, psi, log_weight, replica = [], [], [], []
    for index in range(options.replicas):
        torsions, bias_kt = run(options.build_ns, options.ns, options.seed + index)
        phi.append(torsions[:, 0])
        psi.append(torsions[:, 1])
        log_weight.append(bias_kt)
        replica.append(np.full(len(bias_kt), index))
        report(f"replica {index}", torsions[:, 0], bias_kt)
        write_arrays(
            options.out,
            phi=np.concatenate(phi),
            psi=np.concatenate(psi),
            log_weight=np.concatenate(log_weight),
            replica=np.concatenate(replica),
        )
    report("all", np.concatenate(phi), np.concatenate(log_weight))


def run(build_ns: float, ns: float, seed: int) -> tuple[FloatArray, FloatArray]:
    """Torsions [rad], shape (n, 2), and bias energies [kT], shape (n,), under the frozen bias."""
    molecule = build(load_system("ala2"))
    settings = molecule.spec.settings.dynamics
    variables, quadruples = [], []
    for name in ("phi", "psi"):
        atoms = molecule.observables.indices[name]
        torsion = openmm.CustomTorsionForce("theta")
        torsion.addTorsion(*(int(atom) for atom in atoms))
        variables.append(app.BiasVariable(torsion, -np.pi, np.pi, WIDTH_RAD, True))
        quadruples.append(atoms)
    system = molecule.system
    metadynamics = app.Metadynamics(
        system, variables, settings.temperature_k, BIAS_FACTOR, HEIGHT_KJ_MOL, STRIDE
    )
    integrator = openmm.LangevinMiddleIntegrator(
        settings.temperature_k, settings.friction_per_ps, settings.timestep_ps
    )
    integrator.setRandomNumberSeed(seed)
    simulation = app.Simulation(
        molecule.topology, system, integrator, openmm.Platform.getPlatformByName("Reference")
    )
    simulation.context.setPositions(molecule.positions)
    simulation.minimizeEnergy()
    simulation.context.setVelocitiesToTemperature(settings.temperature_k, seed)
    began = time.perf_counter()
    metadynamics.step(simulation, round(1000.0 * build_ns / settings.timestep_ps))
    group = next(f.getForceGroup() for f in system.getForces() if isinstance(f, openmm.CustomCVForce))
    n_frames = round(1000.0 * ns / settings.timestep_ps / FRAME_STEPS)
    frames = np.empty((n_frames, molecule.n_atoms, 3))
    energy = np.empty(n_frames)
    for frame in range(n_frames):
        simulation.step(FRAME_STEPS)
        state = simulation.context.getState(positions=True, energy=True, groups={group})
        frames[frame] = state.getPositions(asNumpy=True).value_in_unit(unit.nanometer)
        energy[frame] = state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole)
    print(f"{(build_ns + ns) * 1e6 / (time.perf_counter() - began):.0f} steps/s", flush=True)
    torsions = np.stack([dihedrals(frames[:, atoms]) for atoms in quadruples], axis=1)
    return torsions, energy / thermal_energy(settings.temperature_k)


def report(title: str, phi: FloatArray, log_weight: FloatArray) -> None:
    """Delta F with its standard error over blocks, and visits of the region."""
    kt = thermal_energy(load_system("ala2").settings.dynamics.temperature_k)
    inside = (phi > 0.0) & (phi < 2.2)
    weights = np.exp(log_weight - log_weight.max())
    value = delta_f(inside, weights, kt=kt)
    blocks = [
        delta_f(i, w, kt=kt)
        for i, w in zip(np.array_split(inside, BLOCKS), np.array_split(weights, BLOCKS), strict=True)
    ]
    error = np.std(blocks, ddof=1) / np.sqrt(BLOCKS)
    visits = int(np.sum(inside[1:] & ~inside[:-1]))
    print(f"{title}: Delta F {value:.2f} +- {error:.2f} kJ/mol, {visits} visits", flush=True)


if __name__ == "__main__":
    main()
