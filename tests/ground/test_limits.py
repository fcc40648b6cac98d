"""Numbers of the settings end where memory, or a library's own numbers, would."""

from collections.abc import Iterator
from typing import Any, get_args

import annotated_types as at
import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from aecv.ground.errors import SettingsError
from aecv.ground.settings import Settings
from aecv.molecules.spec import load_system

LIMITED_OTHERWISE = {
    # by the time step, together
    "sampling.ns",
    "sampling.frame_ps",
    "sampling.segment_ps",
    "sampling.equilibration_ps",
    "starts.hot_ps",
    "barostat.equilibration_ps",
    "production.ns",
    # by validators of their own
    "convergence.s_min",
    "autoencoder.bias_components",
    # places in a plane or along an observable, which nothing is allocated by
    "delta_f.lower",
    "delta_f.upper",
    "particle.starts_nm",
    "particle.domain_nm",
}


def parts(annotation: Any) -> Iterator[Any]:
    """An annotation and all that it is made of."""
    yield annotation
    for argument in get_args(annotation):
        yield from parts(argument)


def numbers(model: type[BaseModel], at_key: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        kinds = list(parts(field.annotation))
        sections = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        for section in sections:
            yield from numbers(section, f"{at_key}{name}.")
        if not sections and {int, float} & {kind for kind in kinds if isinstance(kind, type)}:
            yield f"{at_key}{name}", field


def has_limit(field: FieldInfo) -> bool:
    told = [*field.metadata, *(item for kind in parts(field.annotation) for item in _told(kind))]
    return any(isinstance(item, at.Le | at.Lt) for item in told)


def _told(kind: Any) -> Iterator[Any]:
    for item in getattr(kind, "__metadata__", ()):
        yield from getattr(item, "metadata", [item])


def test_every_number_has_an_upper_limit() -> None:
    found = dict(numbers(Settings))
    assert len(found) > 60
    assert found.keys() >= LIMITED_OTHERWISE
    without = {key for key, field in found.items() if not has_limit(field)}
    assert without <= LIMITED_OTHERWISE


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training.learning_rate=1e300", "training.learning_rate"),
        ("autoencoder.hidden=[1000000000]", "autoencoder.hidden"),
        ("autoencoder.hidden=[4096]", "pairs of units, more than 1e"),
        ("training.batch_size=1000000000000000000000", "training.batch_size"),
        ("run.iterations=1000000000", "run.iterations"),
    ],
)
def test_numbers_without_a_machine_for_them_are_refused_by_name(text: str, words: str) -> None:
    """These ended in tracebacks: of torch, of an array of 179 GiB, of a loop without end."""
    with pytest.raises(SettingsError) as caught:
        load_system("ala2", overrides=[text])
    assert words in str(caught.value)
    assert "at least" not in str(caught.value)  # a layer that is too wide is no list that is too short


def test_wide_networks_are_there() -> None:
    wide = ["autoencoder.hidden=[1024, 512, 256]"]
    assert load_system("ala2", overrides=wide).settings.autoencoder.hidden == (1024, 512, 256)
