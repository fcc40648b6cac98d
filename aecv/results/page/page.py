"""The page of a run: one HTML file that loads nothing, with figures that react.

Texts pass through the template's escaping, figures travel as JSON that cannot end its script element, and the
page's content security policy lets only the scripts run that are written here: what a run is called, or what
a file in it says, is never code. plotly.js comes from the installed package.

Source: https://www.w3.org/TR/CSP3/ (hashes of inline scripts).
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from aecv.ground.errors import StoreError
from aecv.results.page.drawing import Slot
from aecv.results.page.energy_figures import energy_slots
from aecv.results.page.history_figures import history_slots
from aecv.results.page.structure_figures import stop_labels, structure_slots
from aecv.results.story.content import Story

CITATIONS = (
    (
        True,
        "Z. Belkacemi, P. Gkeka, T. Lelièvre, G. Stoltz, Chasing collective variables using autoencoders and "
        "biased trajectories, J. Chem. Theory Comput. 18, 59 (2022)",
        "https://doi.org/10.1021/acs.jctc.1c00415",
        "the loop (FEBILAE)",
    ),
    (
        False,
        "A. Lesage, T. Lelièvre, G. Stoltz, J. Hénin, Smoothed biasing forces yield unbiased free energies "
        "with the extended-system adaptive biasing force method, J. Phys. Chem. B 121, 3676 (2017)",
        "https://doi.org/10.1021/acs.jpcb.6b10055",
        "extended ABF and CZAR",
    ),
    (
        False,
        "H. Alrachid, T. Lelièvre, Long-time convergence of an adaptive biasing force method: variance "
        "reduction by Helmholtz projection, SMAI J. Comput. Math. 1, 55 (2015)",
        "https://arxiv.org/abs/1501.07094",
        "the bias as the gradient of a potential",
    ),
    (
        False,
        "A. Hulm, J. C. B. Dietschreit, C. Ochsenfeld, Statistically optimal analysis of the extended-system "
        "adaptive biasing force (eABF) method, J. Chem. Phys. 157, 024110 (2022)",
        "https://doi.org/10.1063/5.0095554",
        "MBAR for extended ABF",
    ),
    (
        False,
        "M. R. Shirts, J. D. Chodera, Statistically optimal analysis of samples from multiple equilibrium "
        "states, J. Chem. Phys. 129, 124105 (2008)",
        "https://doi.org/10.1063/1.2978177",
        "MBAR",
    ),
    (
        False,
        "A. Vehtari et al., Rank-normalization, folding, and localization: an improved R-hat for assessing "
        "convergence of MCMC, Bayesian Anal. 16, 667 (2021)",
        "https://doi.org/10.1214/20-BA1221",
        "R-hat",
    ),
    (
        True,
        "N. Vyas et al., SOAP: improving and stabilizing Shampoo using Adam, ICLR 2025",
        "https://arxiv.org/abs/2409.11321",
        "the optimiser",
    ),
)
"""Whether it is of the learning alone, the reference, its link, and what it is for; as in the README."""
DATA_ID = "report-data"
"""Of the script element with the figures."""


def render(story: Story) -> str:
    """The page as HTML.

    Raises:
        StoreError: when plotly, whose script the page holds, is not installed.
    """
    slots = [*energy_slots(story), *structure_slots(story), *history_slots(story)]
    data = {"slots": [slot.as_dict() for slot in slots], "groups": _groups(story)}
    scripts = [plotly_js(), _own("page.js")]
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    # bound here: what a run is called reaches the page as a value of the template, never as its source
    return environment.from_string(_own("page.html.j2")).render(
        story=story,
        slots=_by_section(slots),
        groups=data["groups"],
        data_id=DATA_ID,
        data=script_json(data),
        policy=_policy(scripts),
        style=Markup(_own("page.css")),
        scripts=[Markup(text) for text in scripts],
        citations=[item for item in CITATIONS if story.learns or not item[0]],
    )


def script_json(data: Any) -> Markup:
    """JSON that can stand in a script element: nothing in it ends the element or opens a comment."""
    text = json.dumps(data, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _groups(story: Story) -> dict[str, Any]:
    """Labels of the steps of every slider, and where it stands at first."""
    groups: dict[str, Any] = {}
    if story.energies:
        names = [place.name for place in story.energies]
        groups["places"] = {"labels": names, "start": len(names) - 1, "jumps": []}
    if story.structures is not None and story.structures.stops:
        stops = story.structures.stops
        basins = sorted((stop.basin, k) for k, stop in enumerate(stops) if stop.basin)
        jumps = [[f"basin {number}", k] for number, k in basins]
        groups["stops"] = {"labels": stop_labels(story.structures), "start": 0, "jumps": jumps}
    return groups


def _by_section(slots: Sequence[Slot]) -> dict[str, list[Slot]]:
    sections: dict[str, list[Slot]] = {}
    for slot in slots:
        sections.setdefault(slot.section, []).append(slot)
    return sections


def _policy(scripts: Sequence[str]) -> str:
    """No network, and no script but these."""
    digests = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _own(name: str) -> str:
    return (files("aecv.results.page") / name).read_text(encoding="utf-8")


@cache
def plotly_js() -> str:
    """plotly.js, minified, from plotly's package; that itself is not imported, which takes its time."""
    found = find_spec("plotly")
    folders = [] if found is None else list(found.submodule_search_locations or ())
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise StoreError('the report needs plotly, found none; install it with pip install "plotly>=6"')
