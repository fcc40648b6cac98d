"""The tables of what a step costs, by the number of atoms; no time is asserted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import unit

from aecv.sampling.system.molecular_system import build
from tests.conftest import called


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
