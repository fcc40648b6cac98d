"""The page from values made by hand: what is escaped, what is loaded, what the figures hold."""

import base64
import hashlib
import re
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from aecv.ground.errors import StoreError
from aecv.results.page import page as page_module
from aecv.results.page.drawing import Slot, band, numbers, plain
from aecv.results.page.energy_figures import energy_slots
from aecv.results.page.page import render, script_json
from aecv.results.story.content import (
    FreeEnergies,
    History,
    InTime,
    Landscape,
    Point,
    Quantity,
    SettingRow,
    Step,
    Stop,
    Story,
    Structures,
    Table,
    Walkers,
)
from tests.results.page.report_reader import Page

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>\"'&amp; <!-- \u2028 {{ 7 * 7 }}"
PSI = Quantity(name="psi", label="ψ", unit="rad")
XI = (Quantity(name="xi_1", label="ξ₁", unit=""), Quantity(name="xi_2", label="ξ₂", unit=""))


def story(text: str = "plain", **more: object) -> Story:
    """A story whose texts are all the same."""
    made = Story(
        system=text,
        description=text,
        what=text,
        folder=text,
        state="finished",
        state_words=text,
        written=text,
        converged=True,
        verdict=(text,),
        steps=(Step(advice=text, command=text),),
        facts=((text, text),),
        settings=((text, (SettingRow(key=text, value=text, default=text, meaning=text, origin="changed"),)),),
        toml=text,
        versions=((text, text),),
        command=text,
        missing=(text,),
    )
    return replace(made, **more)  # type: ignore[arg-type]


def plane(text: str = "ψ") -> Landscape:
    """F on a grid of 3 x 2 with one unknown bin; every number differs, so that none can be swapped."""
    values = np.array([[0.0, 1.25], [2.5, np.nan], [4.125, 5.0]])
    return Landscape(
        coordinates=XI,
        axes=(np.array([-1.0, 0.0, 1.0]), np.array([10.0, 20.0])),
        values=values,
        error=values / 10.0,
        n_frames=np.arange(6).reshape(3, 2),
        means=((replace(PSI, label=text), values / 2.0),),
    )


def stop(number: int, text: str = "a stop") -> Stop:
    return Stop(
        label=text,
        xi=np.array([-1.0 + number, 10.0]),
        free_energy=float(number),
        error=0.1,
        observables=((replace(PSI, label=text), 0.5 * number),),
        basin=0 if number == 1 else number // 2 + 1,
        on_path=True,
    )


def structures(text: str = "CH3") -> Structures:
    positions = np.random.default_rng(1).normal(size=(3, 4, 3))
    return Structures(
        place=text,
        stops=tuple(stop(k, text) for k in range(3)),
        elements=("C", "N", text, "O"),
        atoms=(text,) * 4,
        bonds=((0, 1), (1, 2)),
        positions=positions,
        left_out=text,
    )


def everything(text: str) -> Story:
    """A story with every part, in which all names are the same text."""
    nan = float("nan")
    point = Point(value=8.0, lower=7.0, upper=9.5)
    return story(
        text,
        table=Table(caption=text, columns=((text, text),), rows=((text,),)),
        history=History(
            index=(0, 1),
            score=(nan, 0.99),
            unweighted=(nan, 0.98),
            nonlinear=(nan, 0.999),
            required=(nan, 0.95),
            loss=(1e-3, 2e-3),
            pool=(Point(value=nan, lower=nan, upper=nan), point),
            alone=(Point(value=nan, lower=nan, upper=nan), point),
            production=point,
            exact=8.25,
        ),
        region=text,
        energies=(
            FreeEnergies(name=text, along_cv=(plane(text),)),
            FreeEnergies(name="last", along_cv=(plane(text),)),
        ),
        left_out_energies=text,
        walkers=Walkers(
            place=text,
            time_ns=np.array([0.1, 0.2]),
            basin=np.array([[0, -1], [1, 1]]),
            observables=((replace(PSI, label=text), np.array([0.5, 1.0])),),
            passages=np.array([[0, 2], [3, 0]]),
            measures=((text, text),),
        ),
        structures=structures(text),
    )


def test_whatever_is_called_what_nothing_of_it_becomes_an_element() -> None:
    calm, wild = Page(render(everything("plain"))), Page(render(everything(HOSTILE)))
    tags = [tag for tag, _ in calm.elements]
    assert [tag for tag, _ in wild.elements] == tags
    assert wild.unclosed == []
    assert not [key for _, attributes in wild.elements for key in attributes if key.startswith("on")]
    assert HOSTILE.replace("\u2028", "") in wild.text.replace("\u2028", "")
    assert "49" not in re.findall(r"<h1>(.*?)</h1>", render(story("{{ 7 * 7 }}")), re.DOTALL)[0]


def test_scripts_are_those_of_the_policy_whatever_the_names_are() -> None:
    wild = Page(render(everything(HOSTILE)))
    policy = next(a["content"] for _, a in wild.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "script-src 'sha256-" in policy
    executed = [text for attributes, text in wild.scripts if attributes.get("type") is None]
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in executed]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert len(hashes) == 2


def test_names_reach_figures_as_texts() -> None:
    """plotly.js takes some HTML in its texts: names are escaped once more for it."""
    slot = Page(render(everything(HOSTILE))).slot("cv-xi_1_xi_2".replace("_", "-"))
    assert slot["frames"][0][0]["hover"][3]["label"] == f"mean {plain(HOSTILE)}"
    assert "<img" not in plain(HOSTILE)
    assert Page(render(everything(HOSTILE))).data["groups"]["places"]["labels"][0] == HOSTILE


def test_nothing_is_loaded() -> None:
    html = render(everything("plain"))
    page = Page(html)
    assert page.loaded == []
    assert "@import" not in html[: html.index("</style>")]
    assert "url(" not in html[: html.index("</style>")]
    links = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    assert [
        link
        for link in links
        if link and not link.startswith(("#", "https://doi.org/", "https://arxiv.org/"))
    ] == []
    anchors = {str(link)[1:] for link in links if link and link.startswith("#")}
    assert anchors <= {attributes.get("id") for _, attributes in page.elements}


def test_size_is_that_of_the_script_and_little_more() -> None:
    html = render(everything("plain"))
    assert len(html) - len(page_module.plotly_js()) < 60_000
    assert len(html) < 8_000_000


def test_a_map_holds_its_numbers_x_to_the_right() -> None:
    trace = Page(render(everything("plain"))).slot("cv-xi-1-xi-2")["frames"][0][0]
    assert trace["x"] == [-1.0, 0.0, 1.0]
    assert trace["y"] == [10.0, 20.0]
    assert trace["z"] == [[0.0, 2.5, 4.125], [1.25, None, 5.0]]
    told = {line["label"]: line["values"] for line in trace["hover"]}
    assert told["F"] is None  # the map's own
    assert told["standard error"] == [[0.0, 0.25, 0.41], [0.12, None, 0.5]]
    assert told["frames"] == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert told["mean plain"][0] == [0.0, 1.25, 2.06]


def test_the_path_is_drawn_on_the_last_map_alone() -> None:
    first, last = Page(render(everything("plain"))).slot("cv-xi-1-xi-2")["frames"]
    assert len(first) == 1
    _, points, basins = last
    assert points["x"] == [-1.0, 0.0, 1.0]
    assert (basins["x"], basins["text"]) == ([-1.0, 1.0], ["1", "2"])


def test_a_profile_has_its_band_and_gaps_where_it_is_not_known() -> None:
    x = np.arange(5.0)
    f = np.array([0.0, 1.0, np.nan, 3.0, 4.0])
    profile = Landscape(coordinates=(PSI,), axes=(x,), values=f, error=np.full(5, 0.5), exact=f + 1.0)
    slot = Page(render(story(energies=(FreeEnergies(name="here", profiles=(profile,)),)))).slot("profile-psi")
    area, exact, curve, estimate = slot["frames"][0]
    assert area["x"] == [0.0, 1.0, 1.0, 0.0, None, 3.0, 4.0, 4.0, 3.0]
    assert area["y"][:2] == [0.98, 1.98]  # F + 1.96 x 0.5
    assert estimate["y"] == curve["y"] == [0.0, 1.0, None, 3.0, 4.0]
    assert exact["y"] == [1.0, 2.0, None, 4.0, 5.0]
    assert slot["layout"]["xaxis"]["title"]["text"] == "ψ [rad]"


def test_a_profile_is_hatched_and_dashed_where_its_error_is_not_known() -> None:
    """Bins 1 and 4 have a free energy and no error; bin 4 has no neighbour, and is a point."""
    f = np.array([0.0, 1.0, 2.0, np.nan, 4.0])
    error = np.array([0.5, np.inf, 0.5, np.nan, np.nan])
    profile = Landscape(coordinates=(PSI,), axes=(np.arange(5.0),), values=f, error=error)
    slot = Page(render(story(energies=(FreeEnergies(name="here", profiles=(profile,)),)))).slot("profile-psi")
    area, hatched, dashed, curve, points = slot["frames"][0]
    assert set(area["x"]) == {0.0, 0.25, 1.75, 2.25, None}
    assert hatched["x"] == [0.5, 0.5, 1.5, 1.5, None, 3.5, 3.5, 4.0, 4.0]
    assert hatched["y"] == [0, 1, 1, 0, None, 0, 1, 1, 0]
    assert (hatched["yaxis"], "fillpattern" in hatched) == ("y2", True)
    assert (dashed["y"], dashed["line"]["dash"]) == ([0.0, 1.0, 2.0, None, 4.0], "dash")
    assert curve["y"] == [0.0, None, 2.0, None, None]
    lonely = band([0.0, 1.0, 2.0], [np.nan, 3.0, np.nan], [np.nan, 5.0, np.nan], color="red")
    assert (lonely["x"], lonely["y"]) == ([0.75, 1.25, 1.25, 0.75], [5.0, 5.0, 3.0, 3.0])  # a bar
    assert (points["y"], points["marker"]["opacity"]) == ([0.0, 1.0, 2.0, None, 4.0], [0, 0, 0, 0, 1])


def test_a_delta_f_without_a_bound_is_hollow_and_its_bar_leaves_the_panel() -> None:
    full = everything("plain")
    assert full.history is not None
    pool = (Point(value=1.0, lower=-np.inf, upper=np.inf), Point(value=2.0, lower=1.5, upper=np.inf))
    slot = Page(render(replace(full, history=replace(full.history, pool=pool)))).slot("delta-f")
    low, high = slot["layout"]["yaxis"]["range"]
    bars, points = next(
        (a, b) for a, b in pairwise(slot["frames"][0]) if (a["name"], b["name"]) == ("error unknown", "pool")
    )
    assert points["marker"]["symbol"] == ["circle-open", "circle-open"]
    assert points["text"][0] == "1.00, error unknown"
    ends = [y for y in bars["y"] if y not in (None, 1.0, 2.0)]
    assert len(ends) == 3
    assert all(y < low or y > high for y in ends)
    assert low < 1.5 < high


def test_a_delta_f_in_time_that_is_infinite_says_why() -> None:
    """No trace, for which the page has words, in place of axes with nothing in them."""

    def slot(*values: float) -> Slot:
        found = [np.full(2, value) for value in values]
        times = [
            InTime(time_ns=np.array([0.1, 0.2]), delta_f=v, lower=v, upper=v, xi_change=None) for v in found
        ]
        places = tuple(FreeEnergies(name="a place", in_time=item) for item in times)
        (found_slot,) = energy_slots(replace(story(), energies=places))
        return found_slot

    assert slot(np.inf).frames == ((),)
    assert slot(np.inf).caption.endswith(" Not known where walkers never entered the region.")
    assert slot(np.inf, -np.inf).caption.endswith("never entered or never left the region.")
    assert slot(1.0).caption.endswith("before the end.")
    assert len(slot(1.0).frames[0]) > 1


def test_bars_of_delta_f_are_distances_from_the_value() -> None:
    traces = Page(render(everything("plain"))).slot("delta-f")["frames"][0]
    (exact, pool, production) = (
        next(trace for trace in traces if trace["name"] == name) for name in ("exact", "pool", "production")
    )
    assert exact["y"] == [8.25, 8.25]
    assert pool["y"] == [None, 8.0]
    assert pool["error_y"]["array"] == [None, 1.5]
    assert pool["error_y"]["arrayminus"] == [None, 1.0]
    assert production["x"] == [2.0]


def test_structures_are_turned_not_mirrored() -> None:
    """Distances and the handedness of four atoms stay."""
    made = structures()
    molecule = Page(render(story(structures=made))).slot("structures-3d")["molecule"]
    seen = np.array(molecule["positions"])
    for old, new in zip(made.positions, seen, strict=True):
        edges, turned = old[1:] - old[0], new[1:] - new[0]
        np.testing.assert_allclose(np.linalg.norm(edges, axis=1), np.linalg.norm(turned, axis=1), atol=0.02)
        assert np.linalg.det(turned) == pytest.approx(np.linalg.det(edges), abs=0.1)
    spread = seen.reshape(-1, 3).std(axis=0)
    assert spread[0] > spread[1] > spread[2]


def test_a_particle_has_a_path_but_no_viewer() -> None:
    bare = replace(structures(), elements=(), atoms=(), bonds=(), positions=np.empty((3, 0, 3)))
    page = Page(render(story(structures=bare)))
    assert page.slots == {"along-path"}
    assert [frame[0]["x"] for frame in page.slot("along-path")["frames"]] == [[1], [2], [3]]


def test_parts_that_are_not_there_are_left_out() -> None:
    page = Page(render(story()))
    assert page.slots == set()
    titles = {attributes.get("id") for tag, attributes in page.elements if tag == "section"}
    assert titles == {"verdict", "settings", "versions", "citing"}


def test_a_run_along_a_given_cv_does_not_cite_the_learning() -> None:
    assert "Chasing collective variables" in Page(render(story())).text
    given = Page(render(story(learns=False, converged=None))).text
    assert "Chasing collective variables" not in given
    assert "Smoothed biasing forces" in given


def test_numbers_have_no_nan() -> None:
    assert numbers([[1.23456, np.inf], [np.nan, -2.0]], 2) == [[1.23, None], [None, -2.0]]
    assert band([0.0, 1.0], [np.nan, np.nan], [1.0, 1.0], color="red")["x"] == []
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json({"x": float("nan")})
    assert script_json({"x": "</script>&"}) == '{"x":"\\u003c/script\\u003e\\u0026"}'


def test_without_plotly_the_message_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    page_module.plotly_js.cache_clear()
    monkeypatch.setattr(page_module, "find_spec", lambda _: None)
    with pytest.raises(StoreError, match='pip install "plotly>=6"'):
        render(story())
