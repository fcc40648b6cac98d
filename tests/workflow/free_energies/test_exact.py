"""Toy systems end to end, and the exact answers beside their estimates."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from aecv.ground.files import read_json
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.numerics.free_energy.quadrature import mass_along
from aecv.results import plots
from aecv.results.formats.fes import read_fes
from aecv.sampling.system.molecular_system import build
from aecv.workflow.free_energies.exact import exact_plane, read_exact_profile, write_exact
from aecv.workflow.loop import iterate
from aecv.workflow.run_folder.samples import Bias
from aecv.workflow.run_folder.store import name_of
from aecv.workflow.story.pictures import draw
from aecv.workflow.story.reading import read_story

KT = 0.00831446262 * 300.0
TOYS = ("mueller_brown", "double_well_circle", "z_potential")
SMALL = (
    "sampling.ns=0.06",
    "sampling.frame_ps=0.04",
    "sampling.segment_ps=5",
    "sampling.equilibration_ps=1",
    "starts.hot_ps=20",
    "starts.candidates=8",
    "training.max_epochs=4",
    "training.restarts=3",
    "training.min_effective_frames=10",
    "eabf.bins=20",
    "eabf.full_samples=100",
    "run.iterations=2",
    "production.ns=0",
)
"""6000 steps per iteration: numbers mean nothing, but everything runs."""


@pytest.fixture(scope="module", params=TOYS)
def toy_run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "run"
    # one of them with a production, whose pictures know exact answers too
    more = ("production.ns=0.02", "production.replicates=30") if request.param == TOYS[0] else ()
    outcome = iterate(load_system(request.param, overrides=(*SMALL, *more)), folder)
    assert [record.index for record in outcome.records] == [0, 1]
    return folder


def test_a_toy_run_leaves_everything(toy_run: Path) -> None:
    iteration = toy_run / "iteration_01"
    for name in (
        "frames.dcd", "topology.pdb", "colvar.dat", "cv.pt", "fes_x.dat", "fes_y.dat", "fes_x_y.dat",
        "fes_xi_abf.dat", "fes_x.exact.dat", "fes_y.exact.dat", "fes_x_y.exact.dat", "fes_xi.exact.dat",
        "fes_xi_lambda.exact.dat", "frames_x_y.png", "observables_by_cv.png",
    ):  # fmt: skip
        assert (iteration / name).stat().st_size > 0
    assert (toy_run / "pictures" / "free_energy_xi.png").is_file()
    assert not load_cv(iteration).map.encoder.is_aligned
    errors = read_json(iteration / "exact.json")["errors_kj_mol"]
    assert set(errors) == {"xi", "xi_czar", "xi_abf", "x", "y", "x_y"}
    if (produced := toy_run / "production_01").exists():
        assert set(read_json(produced / "exact.json")["errors_kj_mol"]) == set(errors)
        assert (toy_run / "pictures" / "production_profiles.png").stat().st_size > 0


def test_pictures_have_units_and_the_exact_delta_f(toy_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[str, Figure] = {}
    named: set[str] = set()

    def save(figure: Figure, path: Path, *, name: str) -> None:
        drawn[path.name] = figure
        named.add(name)

    monkeypatch.setattr(plots, "save", save)
    system = build(load_system(read_json(toy_run / "run.json")["system"], overrides=SMALL))
    run = SimpleNamespace(
        path=toy_run,
        iteration_dir=lambda place: toy_run / name_of(place),
        output_hash=lambda *_: "",
        is_done=lambda *_, **__: False,
        mark_done=lambda *_: None,
    )
    draw(run, read_story(toy_run), system.spec.settings)  # type: ignore[arg-type]
    known = read_json(toy_run / "iteration_01" / "exact.json")["delta_f_kj_mol"]
    labels = [line.get_label() for line in drawn["delta_f.png"].axes[0].lines]
    assert f"exact: {known:.4g}" in labels
    assert drawn["frames_x_y.png"].axes[0].get_xlabel() == "x [nm]"
    # beside points, or beside the bar of colours where the CV has two components
    assert "y [nm]" in [axis.get_ylabel() for axis in drawn["cv_by_observables.png"].axes]
    assert drawn["observables_by_cv.png"].axes[0].get_ylabel() == "y [nm]"
    if (toy_run / "production_01").exists():
        assert drawn["production_x_y.png"].axes[0].get_xlabel() == "x [nm]"
        assert drawn["production_walkers.png"].axes[0].get_xlabel() == "time of each walker [ns]"
    assert {text.partition(",")[0] for text in named} == {system.spec.name}


def test_exact_profiles_lie_on_the_bins_of_the_estimates(toy_run: Path) -> None:
    iteration = toy_run / "iteration_01"
    for estimate, exact in (("x", "x"), ("x_y", "x_y"), ("xi_czar", "xi"), ("xi_abf", "xi_lambda")):
        ours, theirs = (
            read_fes(iteration / f"fes_{estimate}.dat"),
            read_fes(iteration / f"fes_{exact}.exact.dat"),
        )
        assert theirs.names == ours.names
        for a, b in zip(ours.axes, theirs.axes, strict=True):
            np.testing.assert_array_equal(a, b)
    profile = read_exact_profile(iteration)
    assert profile is not None
    assert profile.min() == 0.0


def test_exact_delta_f(toy_run: Path) -> None:
    """Zero by symmetry on the circle and on the Z; on Mueller-Brown against a sum over points of its own."""
    found = read_json(toy_run / "iteration_01" / "exact.json")["delta_f_kj_mol"]
    spec = load_system(read_json(toy_run / "run.json")["system"])
    if spec.name != "mueller_brown":
        assert found == pytest.approx(0.0, abs=1e-9)
        return
    x, y = np.linspace(-2.0, 1.6, 1201)[:, None], np.linspace(-0.8, 2.4, 1201)
    assert spec.potential is not None
    weight = np.exp(-spec.potential(x=x, y=y) / KT)
    inside = weight[:, y < 0.7].sum() / weight.sum()
    assert found == pytest.approx(-KT * np.log(inside / (1 - inside)), abs=0.02)


def _drawn_xi(run: Path, n: int) -> np.ndarray:
    """The CV that iteration 1 biased at n points of the Boltzmann measure: cell, place inside it, and z."""
    system = build(load_system(read_json(run / "run.json")["system"], overrides=SMALL))
    plane = exact_plane(system)
    assert plane is not None
    rng = np.random.default_rng(0)
    i, j = np.unravel_index(rng.choice(plane.mass.size, size=n, p=plane.mass.ravel()), plane.mass.shape)
    x = plane.x[i] + (plane.x[1] - plane.x[0]) * (rng.random(n) - 0.5)
    y = plane.y[j] + (plane.y[1] - plane.y[0]) * (rng.random(n) - 0.5)
    z = rng.normal(scale=np.sqrt(KT / 500.0), size=n)
    return load_cv(run / "iteration_00")(np.stack([x, y, z], axis=1)[:, None])


def _check_against_draws(run: Path, xi: np.ndarray, name: str, *, slice_width: float = 1.0) -> None:
    """Counts per bin, or in the middle of it, within 5 standard errors of the exact F."""
    grid = Bias.load(run / "iteration_01" / "bias.npz").grid
    place = (xi - np.array(grid.lower)) / grid.widths % 1.0
    xi = xi[np.all(np.abs(place - 0.5) < 0.5 * slice_width, axis=1)]
    counts = np.bincount(grid.index(xi) + 1, minlength=grid.size + 1)[1:]
    profile = read_exact_profile(run / "iteration_01", name)
    assert profile is not None
    likely = counts > 200
    expected = np.exp(-profile[likely] / KT)
    expected *= counts[likely].sum() / expected.sum()
    assert np.abs((counts[likely] - expected) / np.sqrt(expected)).max() < 5.0


def test_exact_f_of_the_cv_is_that_of_points_drawn_from_the_measure(toy_run: Path) -> None:
    xi = _drawn_xi(toy_run, 400_000)
    _check_against_draws(toy_run, xi, "xi")


def test_exact_f_of_lambda_is_that_of_draws_with_noise(toy_run: Path) -> None:
    """lambda = xi + sigma N(0, 1) with sigma = (kT/kappa)^(1/2); its F is meant at the bin centres."""
    xi = _drawn_xi(toy_run, 400_000)
    kappa = np.array(Bias.load(toy_run / "iteration_01" / "bias.npz").extended.kappa)
    noise = np.random.default_rng(1).normal(size=xi.shape) * np.sqrt(KT / kappa)
    _check_against_draws(toy_run, xi + noise, "xi_lambda", slice_width=0.2)


def test_a_molecule_has_no_exact_answer(small_run: Path) -> None:
    system = build(load_system("ala2"))
    folder = small_run / "iteration_01"
    before = sorted(path.name for path in folder.iterdir())
    extended = Bias.load(folder / "bias.npz").extended
    write_exact(folder, system, load_cv(small_run / "iteration_00"), extended)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert exact_plane(system) is None
    assert read_exact_profile(folder) is None


@pytest.mark.parametrize("name", TOYS)
def test_the_domain_holds_all_the_weight(name: str) -> None:
    plane = exact_plane(build(load_system(name)))
    assert plane is not None
    assert plane.edge_share < 1e-6
    values = np.broadcast_to(plane.x[:, None], plane.mass.shape)
    assert mass_along(values, plane, [-10.0, 10.0])[0] == pytest.approx(1.0, abs=1e-12)


@pytest.mark.usefixtures("without_pictures")
def test_a_cv_of_two_components_has_an_exact_map(tmp_path: Path) -> None:
    """Cells are counted there, not shared: right within the noise of 100 000 draws."""
    overrides = (*SMALL, "autoencoder.latent=2", "eabf.bins=10")
    iterate(load_system("mueller_brown", overrides=overrides), tmp_path / "run")
    assert read_fes(tmp_path / "run" / "iteration_01" / "fes_xi.exact.dat").values.shape == (10, 10)
    xi = _drawn_xi(tmp_path / "run", 100_000)
    _check_against_draws(tmp_path / "run", xi, "xi")
