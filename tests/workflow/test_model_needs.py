"""What a model needs and the loop cannot give is said before anything runs."""

from types import SimpleNamespace

import pytest

from aecv.ground.errors import SettingsError
from aecv.models.networks.model import Needs
from aecv.molecules.spec import load_system
from aecv.sampling.system.molecular_system import build
from aecv.workflow.learning import next_cv


@pytest.mark.parametrize(
    ("needs", "iterations", "expected"),
    [
        (Needs(lag_ps=1.0), 2, r"from iteration 1 on are biased; take --iters 1"),
        (Needs(lag_ps=1.0), 1, None),
        (Needs(columns=("phi",)), 2, None),
        (Needs(columns=("phi", "state")), 2, r"needs the observable 'state', the system has phi, psi"),
        (Needs(), 2, None),
    ],
)
def test_a_model_is_asked_what_it_needs(monkeypatch, needs, iterations, expected):
    monkeypatch.setattr(next_cv, "model_of", lambda *_: SimpleNamespace(needs=needs))
    system = build(load_system("ala2", overrides=(f"run.iterations={iterations}",)))
    if expected is None:
        next_cv.check_model(system)
    else:
        with pytest.raises(SettingsError, match=expected):
            next_cv.check_model(system)
