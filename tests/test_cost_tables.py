"""The tables of what a step costs, by the size of the CV and by the number of atoms; no time is asserted."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import unit

from aecv.ground.errors import CVError
from aecv.numerics.extended_abf import kernel_memory, step_kernels
from aecv.numerics.kernels import encoder_kernels as kernels
from aecv.sampling.system.molecular_system import build
from tests.conftest import called


def test_kernel_cost(
    tmp_path: Path, script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """24-3-5-2 has 72 + 15 + 10 = 97 weights, each with 2 flops forward and 2 backward; 24-40-2 has 1040."""
    out = tmp_path / "rows.json"
    cost = script("kernel_cost")
    monkeypatch.setattr(cost, "WARM_UP", 3)
    small = {"hidden": ["3-5"], "components": [3], "atoms": [4], "seconds": 1e-4, "repeats": 1}
    monkeypatch.setattr(cost, "QUICK", small)
    called(cost, monkeypatch, "--quick", "--json", out)
    rows = json.loads(out.read_text())["rows"]
    assert [row["layers"] for row in rows] == [
        "24-40-2",
        "24-3-5-2",
        "24-40-3",
        "12-40-2",
        "phi, psi",
        "distance",
    ]
    assert [row["flops"] for row in rows] == [4160, 388, 4320, 2240, None, None]
    assert [row["n_atoms"] for row in rows] == [8, 8, 8, 4, 5, 2]
    assert [row["n_bins"] for row in rows] == [2500, 2500, 24**3, 2500, 2500, 50]
    assert max(row["difference"] for row in rows) < 1e-10  # rounding of sums over a few hundred numbers
    default, plain = rows[0], rows[-1]
    assert default["ratio"] == pytest.approx(default["autograd_us"] / default["call_us"])
    assert default["gflop_per_s"] == pytest.approx(4.160 / default["network_us"])
    assert (plain["fit_us"], plain["network_us"], plain["gflop_per_s"]) == (None, None, None)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2 + len(rows)
    assert printed[2].split()[:3] == ["default", "24-40-2", "8"]


@pytest.mark.parametrize("factor", [1.00001, np.nan])
def test_wrong_kernel_is_not_timed(
    tmp_path: Path, script: Any, monkeypatch: pytest.MonkeyPatch, factor: float
) -> None:
    right = step_kernels.encoder_step

    def wrong(step: int, floats: Any, table: Any, noise: Any) -> float:
        energy: float = right(step, floats, table, noise)
        kernel_memory.part(floats, table, kernel_memory.FORCES)[:] *= factor
        return energy

    monkeypatch.setattr(step_kernels, "encoder_step", wrong)
    cost = script("kernel_cost")
    size = next(cost.make_sizes([], [], [], tmp_path))
    with pytest.raises(CVError, match=r"forces of 24-40-2 along 8 atoms need to be the torch module's"):
        cost.check_forces(size)


def test_parts_do_the_work_of_the_kernel(tmp_path: Path, script: Callable[[str], Any]) -> None:
    """Network and superposition give the kernel's forces again; every step of lambda leaves a sample."""
    cost, parts = script("kernel_cost"), script("kernel_parts")
    size = next(cost.make_sizes([], [], [], tmp_path))
    memory = size.memory
    cost.check_forces(size)
    forces = memory.forces.copy()
    activations, derivatives = parts._own(memory, parts.WORK).reshape(2, -1)
    activations[24:] = derivatives[:64] = np.nan  # of 24-40-2: all but the input, and all but what goes back
    parts.network_seconds(memory, size.cv.encoder.layers, 3)
    activations[:24] = parts._own(memory, parts.MATRICES)[...] = memory.forces[...] = np.nan
    parts.fit_seconds(memory, 3)
    # the input moved by 3e-12 nm
    np.testing.assert_allclose(memory.forces, forces, atol=1e-8 * np.abs(forces).max())
    cost.begin(size, size.frames[0])
    noise = np.random.default_rng(1).standard_normal((70, 2))
    parts.lambda_seconds(memory, size.cv(size.frames[0])[0], np.array([50, 50]), noise)
    assert memory.samples[:, 0].sum() + memory.counters[kernels.OFF_GRID] == 70


def test_system_size(
    tmp_path: Path, script: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """22 atoms, then whole waters beside them; ns/day are steps/s times time step times 86.4."""
    sizes = script("system_size")
    monkeypatch.setattr(sizes, "N_PROBE", 1)
    out = tmp_path / "rows.json"
    small = {"paddings": [0.5], "equilibration_ps": 0.02, "seconds": 1e-4, "repeats": 1}
    monkeypatch.setattr(sizes, "QUICK", small)
    called(sizes, monkeypatch, "--platform", "CPU", "--processor-time", "--quick", "--json", out)
    found = json.loads(out.read_text())
    rows = found["rows"]
    assert found["clock"] == "processor"
    assert [row["system"] for row in rows] == ["vacuum", "OBC2", "TIP3P, 1.26 nm"]
    *dry, wet = (row["n_atoms"] for row in rows)
    assert dry == [22, 22]
    assert wet > 22
    assert (wet - 22) % 3 == 0
    assert [row["timestep_ps"] for row in rows] == [0.001, 0.001, 0.002]
    assert {row["platform"] for row in rows} == {"CPU"}
    for row in rows:
        expected = row["biased_steps_per_s"] * row["timestep_ps"] * 86.4
        assert row["biased_ns_per_day"] == pytest.approx(expected)
        assert row["ratio"] == pytest.approx(row["biased_steps_per_s"] / row["unbiased_steps_per_s"])
        assert row["added_us_error"] is None  # of one repeat
    assert rows[0]["cutoff_nm"] is None
    assert "OBC2: CPU: as requested" in capsys.readouterr().out


def test_boxes_of_water(tmp_path: Path, script: Any) -> None:
    """Cubes wider than two cutoffs, rigid water of less than the density of the liquid, 100 atoms per nm^3.

    Waters that overlap with the peptide or across the seam are left out, so that small boxes are thin.
    """
    sizes, found = script("system_size"), []
    for padding in (0.8, 1.0):
        (tmp_path / str(padding)).mkdir()
        system = build(sizes.water_box(tmp_path / str(padding), padding))
        edge = sizes.edge_nm(system.topology)
        vectors = system.topology.getPeriodicBoxVectors().value_in_unit(unit.nanometer)
        np.testing.assert_allclose(vectors, edge * np.eye(3))
        assert 2.0 * system.spec.settings.system.cutoff_nm < edge
        assert 70.0 < system.n_atoms / edge**3 < 100.0
        # three of every water, and the twelve hydrogens of the peptide
        assert system.system.getNumConstraints() == system.n_atoms - 22 + 12
        assert len(system.cv_atom_indices) == 8
        found.append(system.n_atoms)
    assert 22 < found[0] < found[1]


def test_shipped_molecules(script: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each in all its solvents; a line has its numbers, and the network fits any number of atoms."""
    shipped = script("shipped_systems")
    names = shipped.molecules()
    assert names[:2] == ["ala2", "ala2_obc"]
    assert set(names) == {
        *names[:2],
        "aaqaa3",
        "ala2_water",
        "chignolin",
        "chignolin:obc",
        "chignolin:explicit",
    }
    monkeypatch.setattr(script("system_size"), "N_PROBE", 1)
    row = shipped.measured("chignolin:obc", "auto", 0.004, 0.02, 1)
    assert (row["n_atoms"], row["platform"]) == (166, "CPU")
    assert "generalised Born" in row["reason"]
    assert row["biased_ns_per_day"] == pytest.approx(row["biased_steps_per_s"] * 0.004 * 86.4)
    assert row["peak_mib"] > 100
