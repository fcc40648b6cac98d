"""Inputs for PLUMED and Colvars as texts: read back by an independent reader they are the CV and the bias."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from aecv.ground.errors import CVError, GridError
from aecv.ground.grid import Grid
from aecv.ground.units import thermal_energy
from aecv.numerics.extended_abf.abf import couple
from aecv.numerics.kernels.encoder import NO_REFERENCE, Encoder, encode
from aecv.numerics.kernels.internal import InternalCoordinates, internal_values
from aecv.numerics.kernels.network import ACTIVATIONS, IDENTITY, SIGMOID, SOFTPLUS
from aecv.results.exports.colvars_input import colvars_input, weight_files
from aecv.results.exports.plumed_input import plumed_input
from aecv.results.exports.reference_pdb import reference_pdb, rounded, written_reference
from aecv.results.exports.subject import AtomName, ExportedBias, ExportedCV, ExportOptions
from tests.results.exports.plumed_reader import Action, evaluate, read_actions, read_pdb

ATOMS = np.array([1, 4, 6, 8, 10, 14, 16, 18])
N_TOTAL = 22


def network(reference: np.ndarray, sizes=(24, 40, 2)) -> Encoder:
    rng = np.random.default_rng(1)
    return Encoder(
        reference=reference,
        weights=tuple(2 * rng.standard_normal((o, i)) / np.sqrt(i) for i, o in pairwise(sizes)),
        biases=tuple(0.3 * rng.standard_normal(o) for o in sizes[1:]),
    )


def structure(decimals: int = 3) -> np.ndarray:
    """Eight atoms of a structure file with so many decimals [nm], off the origin."""
    angstrom = 1.5 * np.random.default_rng(0).standard_normal((8, 3)) + [10.0, -3.0, 4.0]
    return np.round(angstrom, decimals) / 10.0


def subject(kernel, **changes) -> ExportedCV:
    names = tuple(AtomName(f"C{k}", "ALA", 2, "C") for k in range(len(ATOMS)))
    fields = {
        "title": "CV of a test",
        "kernel": kernel,
        "n_components": kernel.n_components,
        "atom_indices": ATOMS,
        "atom_names": names,
        "periodic": (False,) * kernel.n_components,
        "in_box": False,
    }
    return ExportedCV(**{**fields, **changes})


def plan(kind="none", *, sigma_bins=1.0, periodic=(), lower=(-2.0, -1.5), upper=(2.0, 3.5)) -> ExportedBias:
    grid = Grid(lower=lower, upper=upper, n_bins=(50, 25)[: len(lower)], periodic=periodic)
    extended = couple(
        grid,
        kt=thermal_energy(310.0),
        sigma=sigma_bins * grid.widths,
        tau_ps=0.3,
        friction_per_ps=7.0,
        timestep_ps=0.001,
        full_samples=400,
    )
    return ExportedBias(
        kind=kind,
        extended=extended,
        temperature_k=310.0,
        barrier_kj_mol=60.0,
        print_steps=100,
        output_steps=5000,
    )


def frames(reference: np.ndarray, n: int = 100) -> np.ndarray:
    """All atoms, turned and moved at random; those of the CV are near the reference."""
    rng = np.random.default_rng(2)
    positions = rng.standard_normal((n, N_TOTAL, 3))
    positions[:, ATOMS] = reference + 0.03 * rng.standard_normal((n, 8, 3))
    q, _ = np.linalg.qr(rng.standard_normal((n, 3, 3)))
    q *= np.linalg.det(q)[:, None, None]
    return positions @ q + rng.standard_normal((n, 1, 3))


def write(folder: Path, cv: ExportedCV, form: str) -> None:
    (folder / "plumed.dat").write_text(plumed_input(cv, plan(), form))
    if len(cv.reference):
        (folder / "reference.pdb").write_text(reference_pdb(cv.reference, cv.serials, cv.atom_names))


def xi(folder: Path, positions: np.ndarray, d: int) -> np.ndarray:
    values = evaluate(folder, positions)
    return np.stack([values[f"xi_{c + 1}"] for c in range(d)], axis=1)


def action(text: str, name: str) -> Action:
    (found,) = [item for item in read_actions(text) if item.name == name]
    return found


@pytest.mark.parametrize("form", ["ann", "plain"])
@pytest.mark.parametrize("sizes", [(24, 40, 2), (24, 7, 5, 1), (24, 2)])
def test_forms_with_weights_give_the_network(tmp_path, form, sizes):
    """A structure with three decimals is held exactly, so only rounding in double precision is left."""
    encoder = network(structure(), sizes)
    write(tmp_path, subject(encoder), form)
    positions = frames(encoder.reference)
    expected = encode(encoder, positions[:, ATOMS])
    assert np.abs(xi(tmp_path, positions, sizes[-1]) - expected).max() < 1e-12


@pytest.mark.parametrize("form", ["ann", "plain"])
def test_a_reference_with_more_decimals_costs_less_than_single_precision(tmp_path, form):
    encoder = network(structure(decimals=12))
    write(tmp_path, subject(encoder), form)
    positions = frames(encoder.reference)
    error = np.abs(xi(tmp_path, positions, 2) - encode(encoder, positions[:, ATOMS])).max()
    assert 1e-10 < error < 2e-6


@pytest.mark.parametrize("form", ["ann", "plain"])
def test_nothing_is_fitted_without_alignment(tmp_path, form):
    encoder = network(NO_REFERENCE, (3, 6, 1))
    cv = subject(encoder, atom_indices=np.array([0]), atom_names=(AtomName("X", "MOL", 1, ""),))
    write(tmp_path, cv, form)
    text = (tmp_path / "plumed.dat").read_text()
    assert "FIT_TO_TEMPLATE" not in text
    assert not (tmp_path / "reference.pdb").exists()
    positions = np.random.default_rng(0).standard_normal((100, 1, 3))
    assert np.abs(xi(tmp_path, positions, 1) - encode(encoder, positions)).max() < 1e-13


def test_internal_coordinates_are_plumeds_own_actions(tmp_path):
    coordinates = InternalCoordinates(
        kinds=("dihedral", "angle", "distance"),
        atoms=((0, 1, 2, 3), (4, 5, 6), (7, 0)),
        axes=(None, None, None),
        n_atoms=8,
    )
    write(tmp_path, subject(coordinates, periodic=(True, False, False)), "pytorch")
    text = (tmp_path / "plumed.dat").read_text()
    assert "TORSION ATOMS=2,5,7,9 NOPBC" in text
    assert "ANGLE ATOMS=11,15,17 NOPBC" in text
    assert "DISTANCE ATOMS=19,2 NOPBC" in text
    positions = frames(structure())
    expected = internal_values(coordinates, positions[:, ATOMS])
    assert np.abs(xi(tmp_path, positions, 3) - expected).max() < 1e-10


def test_coordinates_are_positions(tmp_path):
    coordinates = InternalCoordinates(
        kinds=("coordinate", "coordinate"), atoms=((2,), (5,)), axes=(1, 2), n_atoms=8
    )
    write(tmp_path, subject(coordinates), "plain")
    positions = frames(structure())
    expected = np.stack([positions[:, ATOMS[2], 1], positions[:, ATOMS[5], 2]], axis=1)
    assert np.array_equal(xi(tmp_path, positions, 2), expected)


def test_atoms_are_counted_from_one_and_in_the_order_of_the_cv():
    encoder = network(structure())
    text = plumed_input(subject(encoder, atom_indices=ATOMS[::-1].copy()), plan(), "pytorch")
    serials = [int(item.keywords["ATOM"]) for item in read_actions(text) if item.name == "POSITION"]
    assert serials == [19, 17, 15, 11, 9, 7, 5, 2]
    arguments = action(text, "PYTORCH_MODEL").keywords["ARG"].split(",")
    assert arguments[:4] == ["a19.x", "a19.y", "a19.z", "a17.x"]
    assert all("NOPBC" in item.flags for item in read_actions(text) if item.name == "POSITION")
    assert "WHOLEMOLECULES" not in text


def test_in_a_box_the_molecule_is_made_whole_before_anything_else():
    text = plumed_input(subject(network(structure()), in_box=True), plan(), "ann")
    names = [item.name for item in read_actions(text)]
    assert names[:3] == ["UNITS", "WHOLEMOLECULES", "FIT_TO_TEMPLATE"]
    assert action(text, "WHOLEMOLECULES").keywords["ENTITY0"] == "2,5,7,9,11,15,17,19"


def test_extended_abf_has_grid_coupling_and_dynamics_of_the_run():
    text = plumed_input(subject(network(structure())), plan("drr", sigma_bins=1.5), "pytorch")
    drr = action(text, "DRR")
    assert drr.keywords["ARG"] == "xi_1,xi_2"
    assert drr.numbers("GRID_MIN").tolist() == [-2.0, -1.5]
    assert drr.numbers("GRID_MAX").tolist() == [2.0, 3.5]
    assert drr.numbers("GRID_BIN").tolist() == [50, 25]
    # kappa = kT/sigma^2 and sigma = 1.5 bins: PLUMED's default, kT/spacing^2, would be 2.25 times as stiff
    kappa = thermal_energy(310.0) / (1.5 * np.array([4.0 / 50, 5.0 / 25])) ** 2
    np.testing.assert_allclose(drr.numbers("KAPPA"), kappa, rtol=1e-14)
    np.testing.assert_allclose(drr.numbers("TAU"), [0.3, 0.3], rtol=1e-9)
    assert drr.numbers("FRICTION").tolist() == [7.0, 7.0]
    assert drr.keywords["REFLECTINGWALL"] == "1,1"
    assert (drr.keywords["FULLSAMPLES"], drr.keywords["TEMP"]) == ("400", "310")
    assert drr.keywords["OUTPUTFREQ"] == "5000"
    assert action(text, "PRINT").keywords["ARG"] == "xi_1,xi_2,eabf.xi_1_fict,eabf.xi_2_fict"
    assert "sigma/bin width = 1.5, 1.5" in text


def torsion_cv() -> ExportedCV:
    coordinates = InternalCoordinates(
        kinds=("dihedral", "distance"), atoms=((0, 1, 2, 3), (4, 5)), axes=(None, None), n_atoms=8
    )
    return subject(coordinates, periodic=(True, False))


PERIODIC = {"periodic": (True, False), "lower": (-np.pi, 0.1), "upper": (np.pi, 0.9)}


@pytest.mark.parametrize(("kind", "name"), [("drr", "DRR"), ("metad", "METAD")])
def test_a_periodic_component_has_plumeds_period_and_no_wall(kind, name):
    text = plumed_input(torsion_cv(), plan(kind, **PERIODIC), "plain")
    block = action(text, name)
    assert block.keywords["GRID_MIN"].split(",")[0] == "-pi"
    assert block.keywords["GRID_MAX"].split(",")[0] == "pi"
    if kind == "drr":
        assert block.keywords["REFLECTINGWALL"] == "0,1"
    else:
        assert action(text, "LOWER_WALLS").keywords["ARG"] == "xi_2"


@pytest.mark.parametrize("kind", ["drr", "metad", "opes"])
def test_a_period_that_is_none_of_an_angle_is_refused(kind):
    """PLUMED's dihedrals go from -pi to pi, and so does its grid; half of it would be another bias."""
    half = plan(kind, **{**PERIODIC, "lower": (0.0, 0.1)})
    with pytest.raises(GridError, match=r"component 1 needs a range of 2 pi, got 0 to 3\.141592654, 3\.14"):
        plumed_input(torsion_cv(), half, "plain")
    whole = plan(kind, **{**PERIODIC, "lower": (0.0, 0.1), "upper": (2 * np.pi, 0.9)})
    assert "xi_1" in action(plumed_input(torsion_cv(), whole, "plain"), "PRINT").keywords["ARG"]


def test_metadynamics_is_scaled_by_the_range():
    text = plumed_input(subject(network(structure())), plan("metad"), "ann")
    metad = action(text, "METAD")
    np.testing.assert_allclose(metad.numbers("SIGMA"), [4.0 / 20, 5.0 / 20])
    # beyond the walls at the ends of the range by half of it, in cells of a third of a kernel's width
    assert metad.numbers("GRID_MIN").tolist() == [-4.0, -4.0]
    assert metad.numbers("GRID_MAX").tolist() == [4.0, 6.0]
    assert metad.numbers("GRID_BIN").tolist() == [120, 120]
    assert float(metad.keywords["BIASFACTOR"]) == pytest.approx(60.0 / thermal_energy(310.0), rel=1e-3)
    assert action(text, "LOWER_WALLS").numbers("AT").tolist() == [-2.0, -1.5]
    assert action(text, "UPPER_WALLS").numbers("AT").tolist() == [2.0, 3.5]


def test_opes_gets_its_barrier():
    opes = action(plumed_input(subject(network(structure())), plan("opes"), "ann"), "OPES_METAD")
    assert (opes.keywords["BARRIER"], opes.keywords["TEMP"]) == ("60", "310")
    np.testing.assert_allclose(opes.numbers("SIGMA"), [0.2, 0.25])


def test_pdb_holds_a_structure_exactly_and_other_references_to_half_a_unit(tmp_path):
    for decimals, allowed in ((3, 1e-15), (12, 0.5e-6)):
        centred = structure(decimals) - structure(decimals).mean(axis=0)
        path = tmp_path / "reference.pdb"
        path.write_text(reference_pdb(centred, [int(a) + 1 for a in ATOMS], subject_names()))
        serials, points = read_pdb(path)
        assert serials == [2, 5, 7, 9, 11, 15, 17, 19]
        np.testing.assert_allclose(points, written_reference(centred), rtol=0, atol=1e-16)
        # up to a move, which changes no rotation; 5 decimals in A are 1e-6 nm
        assert np.abs((points - points[0]) - (centred - centred[0])).max() < allowed
        assert np.abs(points.mean(axis=0)).max() < 1e-6
        assert all(len(line) <= 80 for line in path.read_text().splitlines())


def subject_names() -> tuple[AtomName, ...]:
    return subject(network(structure())).atom_names


@pytest.mark.parametrize(("size_nm", "decimals"), [(0.5, 5), (0.89, 5), (0.95, 4), (5.0, 4), (50.0, 3)])
def test_pdb_uses_the_columns_there_are(size_nm, decimals):
    reference = size_nm * np.array([[1.0, 0, 0], [-1.0, 0, 0], [0, 1.0, 0], [0, -1.0, 0]])
    assert rounded(reference)[1] == decimals
    text = reference_pdb(reference, [1, 2, 3, 4], subject_names()[:4])
    atoms = [line for line in text.splitlines() if line.startswith("ATOM")]
    # x, y and z have eight columns each, whether there is a blank between them or none
    points = np.array([[float(line[start : start + 8]) for start in (30, 38, 46)] for line in atoms])
    differences = (points - points[0]) - 10.0 * (reference - reference[0])
    assert np.abs(differences).max() < 1.01 * 10.0**-decimals  # two roundings of half a digit
    assert [line[54:60] for line in atoms] == ["  1.00"] * 4


def test_pdb_refuses_what_does_not_fit():
    reference = structure() - structure().mean(axis=0)
    with pytest.raises(CVError, match="atom number 100000 does not fit its five columns"):
        reference_pdb(reference, [*range(1, 8), 100_000], subject_names())


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_formulas_give_every_activation(tmp_path, name):
    encoder = replace(network(structure()), activations=(ACTIVATIONS.index(name), IDENTITY))
    write(tmp_path, subject(encoder), "plain")
    positions = frames(encoder.reference)
    assert np.abs(xi(tmp_path, positions, 2) - encode(encoder, positions[:, ATOMS])).max() < 1e-12
    assert f"takes {name};" in (tmp_path / "plumed.dat").read_text()


def test_programs_without_an_activation_refuse_it(tmp_path):
    """ANN knows tanh and linear layers; Colvars knows more, and by its own names."""
    softplus, sigmoid = (
        replace(network(structure()), activations=(f, IDENTITY)) for f in (SOFTPLUS, SIGMOID)
    )
    with pytest.raises(CVError, match="PLUMED's ANN has no sigmoid"):
        write(tmp_path, subject(sigmoid), "ann")
    text = colvars_input(subject(sigmoid), plan("drr"), ExportOptions(form="ann"))
    assert "layer1_activation sigmoid" in text
    with pytest.raises(CVError, match=r"neuralNetwork has no softplus.*use the form 'pytorch'"):
        colvars_input(subject(softplus), plan("drr"), ExportOptions(form="ann"))


def test_colvars_reads_the_rows_of_the_network():
    encoder = network(structure())
    files = weight_files(encoder)
    assert sorted(files) == [
        "layer1_biases.txt",
        "layer1_weights.txt",
        "layer2_biases.txt",
        "layer2_weights.txt",
    ]
    rows = np.array([line.split(" ") for line in files["layer1_weights.txt"].splitlines()], dtype=float)
    assert np.array_equal(rows, encoder.weights[0])
    biases = np.array(files["layer2_biases.txt"].split(), dtype=float)
    assert np.array_equal(biases, encoder.biases[1])


def test_colvars_inputs_sort_by_name_in_the_order_of_the_network():
    text = colvars_input(
        subject(network(structure())), plan("drr"), ExportOptions(form="ann", length="angstrom")
    )
    names = [line.split()[1] for line in text.splitlines() if line.strip().startswith("name input")]
    assert names[:24] == sorted(names[:24])
    assert len(names) == 48
    assert text.count("componentCoeff 0.1") == 48
    assert "layer2_activation linear" in text
    assert text.count("{") == text.count("}")
    points = next(line for line in text.splitlines() if "refPositions" in line)
    first = [float(word) for word in points.split("(")[1].split(")")[0].split(",")]
    expected = 10.0 * (structure() - structure().mean(axis=0))[0]
    np.testing.assert_allclose(first, expected, rtol=1e-12)


def test_colvars_gets_the_extended_variable():
    text = colvars_input(
        subject(network(structure())), plan("drr", sigma_bins=1.5), ExportOptions(form="pytorch")
    )
    values = dict(line.split(maxsplit=1) for line in text.splitlines() if len(line.split()) == 2)
    assert float(values["width"]) == pytest.approx(0.2)
    assert float(values["extendedFluctuation"]) == pytest.approx(0.3)
    assert float(values["extendedTimeConstant"]) == pytest.approx(300.0)
    assert values["extendedLangevinDamping"] == "7"
    assert "NOT TESTED" in text.splitlines()[1]
    assert "cartesian" in text
    assert "componentCoeff 1.0" in text


def test_errors_say_what_is_needed():
    cv = subject(network(structure()))
    with pytest.raises(
        CVError, match="form needs one of pytorch, ann, plain, got 'plane'; did you mean 'plain'"
    ):
        plumed_input(cv, plan(), "plane")
    with pytest.raises(CVError, match="bias needs one of drr, metad, opes, none, got 'abf'"):
        plumed_input(cv, plan("abf"), "ann")
    with pytest.raises(
        CVError, match=r"the form 'ann' writes the network's weights, and this CV has no cv\.npz"
    ):
        plumed_input(replace(cv, kernel=None), plan(), "ann")
    one = plan("drr", lower=(-1.0,), upper=(1.0,))
    with pytest.raises(GridError, match="the CV has 2 components, the grid of the bias has 1 dimensions"):
        plumed_input(cv, one, "ann")
    with pytest.raises(GridError, match="needs the range of the CV, it is not known"):
        plumed_input(cv, replace(one, extended=None), "ann")
    with pytest.raises(
        CVError, match="Colvars takes pytorch or ann as form, got 'plain', which is for PLUMED"
    ):
        colvars_input(cv, plan(), ExportOptions(form="plain"))
    with pytest.raises(CVError, match="Colvars takes drr or none as bias, got 'opes', which is for PLUMED"):
        colvars_input(cv, plan("opes"), ExportOptions(form="ann"))
    with pytest.raises(CVError, match="only networks are written for Colvars"):
        colvars_input(torsion_cv(), plan(), ExportOptions(form="ann"))
