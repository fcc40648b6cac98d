"""Observables whose files would be one another's are refused at the start, not when a run ends."""

import re

import pytest

from aecv.ground.errors import SettingsError
from aecv.ground.names import check_folder_name, check_observable_names
from aecv.molecules.spec import load_system


@pytest.mark.parametrize(
    ("names", "other"),
    [
        (("phi", "psi", "phi_psi"), "'phi_psi'"),  # fes_phi_psi.dat
        (("phi_psi", "phi", "psi"), "'phi_psi'"),
        (("a", "b_c", "a_b", "c"), "'a' with 'b_c'"),  # fes_a_b_c.dat of two pairs
        (("phi", "Phi"), "'phi'"),  # where Phi is phi
        (("end-to-end", "end_to_end"), "'end-to-end'"),  # figures of the report
        (("phi", "psi", "PHI-psi"), "'PHI-psi'"),
        (("delta", "f"), "production_delta_f.png"),
    ],
)
def test_what_would_overwrite_another_is_named_with_it(names: tuple[str, ...], other: str) -> None:
    with pytest.raises(ValueError, match=rf"^observables\.\S+: .*{re.escape(other)}.*; rename one$"):
        check_observable_names(names)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "xi",
            "Xi",
            "xi_1",
            "XI_2",
            "lam_1",
            "lambda_1",
            "time",
            "Time",
            "frame",
            "Frame",
            "weight",
            "walker",
        ),
        *("", "a/b", "../a", "a.b", "phi\n", "phi psi", "é", "1phi", "a\x00", "x" * 61),
    ],
)
def test_columns_files_and_what_is_no_name_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"needs (a name of letters|at most 60 letters)"):
        check_observable_names([name])


def test_names_that_look_alike_but_are_not_pass() -> None:
    check_observable_names(
        ["phi", "psi", "psi_phi", "phi1", "delta_f", "walkers", "convergence", "abf", "con"]
    )
    check_observable_names([])


@pytest.mark.parametrize("name", ["con", "NUL", "com1", "x" * 61, "ala2\n", "../ala2", "2ala", ""])
def test_folders_that_some_systems_do_not_make(name: str) -> None:
    with pytest.raises(ValueError, match=r"device|at most 60|begin with a letter"):
        check_folder_name(name)
    assert check_folder_name("ala2") == "ala2"


def test_a_run_is_refused_in_its_first_second() -> None:
    """An observable called like the pair of two others: all would be written, and one map lost."""
    with pytest.raises(SettingsError, match=r"observables\.phi: the files of 'phi' with 'psi' .* 'phi_psi'"):
        load_system(
            "ala2", overrides=("observables.phi_psi={kind='distance', atoms=['index 1', 'index 5']}",)
        )
    with pytest.raises(SettingsError, match="NUL"):
        load_system("ala2", overrides=("system.name=NUL",))
