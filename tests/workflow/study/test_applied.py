"""A CV on a user's frames: values, columns by time, files, pictures, and what a training leaves of them."""

from pathlib import Path

import mdtraj
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import aecv
from aecv.commands.apply import main
from aecv.ground.errors import CVError, SamplingError, SettingsError
from aecv.models.cvs.cv_files import load_cv
from aecv.molecules.spec import load_system
from aecv.results.formats.colvar import read_colvar
from aecv.sampling.system.molecular_system import MolecularSystem, build

QUICK = {"training.max_epochs": 3, "training.restarts": 2, "training.min_effective_frames": 20}
N = 120


@pytest.fixture(scope="module")
def system() -> MolecularSystem:
    return build(load_system("ala2"))


@pytest.fixture(scope="module")
def trajectory(system: MolecularSystem) -> mdtraj.Trajectory:
    """Shaken structures, 2 ps apart from 10 ps on."""
    rng = np.random.default_rng(0)
    positions = system.positions[None] + 0.01 * rng.standard_normal((N, system.n_atoms, 3))
    return mdtraj.Trajectory(positions, system.mdtraj_topology, time=10.0 + 2.0 * np.arange(N))


@pytest.fixture(scope="module")
def folder(trajectory: mdtraj.Trajectory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory, and a COLVAR with twice as many rows."""
    folder = tmp_path_factory.mktemp("frames")
    trajectory.save(str(folder / "traj.xtc"))
    rows = "".join(f" {time:f} {0.01 * time:.6f} {time**2:.6f}\n" for time in range(300))
    (folder / "COLVAR").write_text(f"#! FIELDS time opes.bias square\n{rows}")
    return folder


def test_a_picture_of_no_known_kind_is_refused_before_anything_is_written(
    folder: Path, tmp_path: Path
) -> None:
    arguments = ["phi,psi", str(folder / "traj.xtc"), "--system", "ala2", "--out", str(tmp_path / "xi.dat")]
    found = CliRunner().invoke(main, [*arguments, "--picture", str(tmp_path / "p.foo")])
    assert found.exit_code == 1
    assert "needs one of .png, .pdf, .svg" in found.stderr
    assert not (tmp_path / "xi.dat").exists()


def test_two_colours_of_one_name_are_refused(folder: Path, tmp_path: Path) -> None:
    arguments = ["phi,psi", str(folder / "traj.xtc"), "--system", "ala2", "--out", str(tmp_path / "xi.dat")]
    colours = ["--color", f"{folder}/COLVAR:square", "--color", "elsewhere/COLVAR:square"]
    found = CliRunner().invoke(main, [*arguments, *colours])
    assert found.exit_code == 1
    assert "'square' is the name of another one" in found.stderr


def test_the_model_of_another_program_needs_a_system_to_be_applied(folder: Path, tmp_path: Path) -> None:
    """What helps is --system, not an argument of Python."""
    module = torch.jit.script(torch.nn.Flatten())
    torch.jit.save(module, str(tmp_path / "theirs.pt"))
    arguments = [str(tmp_path / "theirs.pt"), str(folder / "traj.xtc"), "--atoms", "4,6"]
    found = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "xi.dat")])
    assert found.exit_code == 1
    assert "name it (--system)" in found.stderr


def test_values_time_and_weights_of_every_frame(
    trajectory: mdtraj.Trajectory, folder: Path, tmp_path: Path
) -> None:
    frames = aecv.FrameFiles(
        trajectories=folder / "traj.xtc",
        weights=aecv.Weights(source=folder / "COLVAR", bias=("opes.bias",), bias_unit="kT"),
        stride=3,
    )
    found = aecv.apply("phi,psi", frames, system="ala2", colours={"square": (folder / "COLVAR", "square")})
    times = 10.0 + 2.0 * np.arange(N)[::3]
    np.testing.assert_allclose(found.times_ps, times)
    np.testing.assert_allclose(found.colours["square"], times**2)
    np.testing.assert_allclose(np.diff(np.log(found.weights)), 0.06, atol=1e-6)  # 6 ps of 0.01 kT each
    # an .xtc keeps 0.001 nm
    expected = mdtraj.compute_phi(trajectory[::3])[1]
    np.testing.assert_allclose(found.xi[:, :1], expected, atol=0.02)
    np.testing.assert_allclose(found.xi[:, 0], found.observables["phi"], atol=1e-12)
    found.write(tmp_path / "xi.dat")
    back = read_colvar(tmp_path / "xi.dat")
    assert list(back) == ["time", "xi_1", "xi_2", "phi", "psi", "square", "weight"]
    for name, values in found.columns.items():
        np.testing.assert_allclose(back[name], values, rtol=1e-9)
    assert "#! SET min_xi_1 -pi" in (tmp_path / "xi.dat").read_text()
    found.write(str(tmp_path / "xi.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "xi.npy"), found.xi)
    assert repr(found) == "Applied phi, psi to 40 frames of ala2: time, xi_1, xi_2, phi, psi, square, weight"
    names = {axis.get_ylabel() for axis in found.plot().axes}
    assert {"time [ps]", "ln(weight / mean)", "square"} <= names
    pandas = pytest.importorskip("pandas", reason="to_dataframe needs pandas")
    assert isinstance(found.to_dataframe(), pandas.DataFrame)
    assert list(found.to_dataframe()) == list(back)


def test_a_picture_of_frames_is_grey_where_one_weight_tells(trajectory: mdtraj.Trajectory) -> None:
    """Bins of one frame each are among them, unless the system asks for any."""
    for least, is_grey in ((3, True), (1, False)):
        spec = load_system("ala2", overrides=(f"free_energy.least_visits={least}",))
        found = aecv.apply("phi,psi", trajectory, system=spec)
        texts = [axis.get_ylabel() for axis in found.plot().axes]
        assert r"$-\ln p$ (grey: unknown)" in texts  # these frames have no weights
        *grey, shown = found.plot().axes[0].collections
        assert bool(grey) == is_grey
        n_frames = np.histogram2d(*found.xi.T, bins=shown.get_array().shape)[0]
        assert shown.get_array().count() == np.sum(n_frames > 0) - sum(g.get_array().count() for g in grey)
        if is_grey:
            assert grey[0].get_array().count() >= np.sum((n_frames > 0) & (n_frames < 3))


def test_frames_without_times_are_counted(trajectory: mdtraj.Trajectory) -> None:
    """A column of frames' numbers is not called time: nobody shall take it for ps."""
    untimed = mdtraj.Trajectory(trajectory.xyz, trajectory.topology)
    found = aecv.apply("phi", untimed, system="ala2")
    assert list(found.columns) == ["frame", "xi_1", "phi", "psi", "weight"]
    np.testing.assert_array_equal(found.columns["frame"], np.arange(N))


def test_a_training_is_a_cv_at_once(folder: Path, trajectory: mdtraj.Trajectory, tmp_path: Path) -> None:
    spec = load_system("ala2", overrides=QUICK)
    trained = aecv.train(
        spec,
        str(folder / "traj.xtc"),
        str(tmp_path / "cv"),
        colours={"square": (folder / "COLVAR", "square")},
    )
    xi = trained.cv.of_frames(trajectory.xyz)
    np.testing.assert_allclose(trained.frames.xi, xi, atol=0.2)  # .xtc: 0.001 nm of a spread of 0.01 nm
    assert np.corrcoef(trained.frames.xi[:, 0], xi[:, 0])[0, 1] > 0.99
    again = load_cv(tmp_path / "cv")
    np.testing.assert_array_equal(again.of_frames(trajectory.xyz), xi)
    assert trained.cv.source == again.source  # not the temporary folder
    assert str(tmp_path / "cv") in repr(trained)
    assert len(repr(trained)) < 300
    assert len(trained.autoencoder.losses) == 2
    written = read_colvar(tmp_path / "cv" / "xi.dat")
    assert list(written) == ["time", "xi_1", "xi_2", "phi", "psi", "square", "weight"]
    np.testing.assert_allclose(written["xi_2"], trained.frames.xi[:, 1], rtol=1e-9)
    assert (tmp_path / "cv" / "latent_map.png").stat().st_size > 10_000
    found = aecv.apply(tmp_path / "cv", folder / "traj.xtc")  # it knows its system
    np.testing.assert_allclose(found.xi, trained.frames.xi, atol=1e-9)


def test_colours_are_read_before_the_training(folder: Path, tmp_path: Path) -> None:
    spec = load_system("ala2", overrides={**QUICK, "training.max_epochs": 100_000})
    for colours, error, message in (
        ({"x": folder / "COLVAR"}, SamplingError, "needs one column, has time, opes.bias, square"),
        ({"phi": (folder / "COLVAR", "square")}, SettingsError, "colour 'phi': needs a name"),
        ({"xi_1": (folder / "COLVAR", "square")}, SettingsError, "colour 'xi_1': needs a name"),
    ):
        with pytest.raises(error, match=message):
            aecv.train(spec, folder / "traj.xtc", tmp_path / "cv", colours=colours)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_applied_is_named(folder: Path, system: MolecularSystem) -> None:
    with pytest.raises(CVError, match="phi: needs the system of the frames: name it"):
        aecv.apply("phi", folder / "traj.xtc")
    with pytest.raises(CVError, match="'nix' is none of the observables phi, psi"):
        aecv.apply("nix", folder / "traj.xtc", system="ala2")


def test_the_command(folder: Path, tmp_path: Path) -> None:
    arguments = [
        "phi",
        str(folder / "traj.xtc"),
        "--system",
        "ala2",
        "--color",
        f"{folder / 'COLVAR'}:square",
    ]
    files = ["--out", str(tmp_path / "new" / "xi.dat"), "--picture", str(tmp_path / "xi.png")]
    done = CliRunner().invoke(main, [*arguments, *files])
    assert done.exit_code == 0, done.output
    assert "xi of 120 frames of ala2, 1 component\n" in done.output
    assert list(read_colvar(tmp_path / "new" / "xi.dat")) == [
        "time",
        "xi_1",
        "phi",
        "psi",
        "square",
        "weight",
    ]
    assert (tmp_path / "xi.png").stat().st_size > 10_000
    again = CliRunner().invoke(main, [*arguments, *files])
    assert again.exit_code == 1
    assert "xi.dat: exists already" in again.output
