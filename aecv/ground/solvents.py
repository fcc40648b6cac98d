"""[solvent.NAME]: settings that one system.toml offers for each of several solvents.

`system.solvent` names the one that is taken, with `--set solvent=NAME` for one run. Its settings are laid
over those of the rest of the file, and under those of --config and --set:

    [system]
    solvent = "implicit"

    [solvent.explicit.system]
    structure = "water.pdb"
    nonbonded = "PME"
"""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from aecv.ground.errors import SettingsError, suggestion
from aecv.ground.layers import Layer, merge, setter

SECTION = "solvent"
_ALIKE = 0.85
"""Similarity of a misspelt name; explicit and implicit have 0.75."""


def with_solvent(layers: Sequence[Layer]) -> list[Layer]:
    """The layers without their [solvent] tables, that of the chosen one laid over the first.

    Args:
        layers: system.toml and what is laid over it.

    Raises:
        SettingsError: for a solvent that the system does not have.
    """
    tables = _tables(layers)
    own: list[Layer] = [
        (name, {key: value for key, value in fields.items() if key != SECTION}) for name, fields in layers
    ]
    chosen = _system_of(merge(*(fields for _, fields in own))).get(SECTION)
    if not isinstance(chosen, str):  # none, or what the settings refuse
        return own
    origin = setter(("system", SECTION), own)
    known = solvent_names(layers)
    if chosen not in tables and get_close_matches(chosen, tables, cutoff=_ALIKE):
        # the file's own name for what stands outside the tables, or more likely a misspelt one of them
        known = tuple(name for name in known if name != chosen)
    if chosen not in known:
        offers = (
            f"one of {', '.join(known)}" if known else "to be left out: this system has no [solvent] tables"
        )
        raise SettingsError(
            f"system.solvent: needs {offers}, got '{chosen}'{suggestion(chosen, known)} (from {origin})"
        )
    named = [name for name, table in tables.items() if SECTION in _system_of(table)]
    if named:
        raise SettingsError(
            f"[{SECTION}.{named[0]}.system] sets {SECTION}, which chooses between these tables; take it out"
        )
    if chosen in tables:
        own.insert(1, (f"{layers[0][0]} [{SECTION}.{chosen}]", tables[chosen]))
    return own


def solvent_names(layers: Sequence[Layer]) -> tuple[str, ...]:
    """The solvents that system.toml, the first layer, and what is laid over it offer; empty for none.

    Raises:
        SettingsError: for tables that are none.
    """
    return tuple(sorted({*_tables(layers), *_own(layers[0])}))


def _tables(layers: Sequence[Layer]) -> dict[str, Mapping[str, Any]]:
    tables: dict[str, Mapping[str, Any]] = {}
    for name, fields in layers:
        found = fields.get(SECTION, {})
        values = found if isinstance(found, Mapping) else {"": found}
        wrong = [
            f"{key} = {item!r}".strip(" =") for key, item in values.items() if not isinstance(item, Mapping)
        ]
        if wrong:
            raise SettingsError(
                f"[{SECTION}] needs tables like [{SECTION}.explicit.system], got {wrong[0]} (from {name}); "
                f"a solvent is chosen by system.{SECTION}"
            )
        tables = merge(tables, found)
    return tables


def _own(base: Layer) -> tuple[str, ...]:
    """The solvent that the file describes outside the tables: the one that it names itself."""
    named = _system_of(base[1]).get(SECTION)
    return (named,) if isinstance(named, str) else ()


def _system_of(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Its [system], empty where that is no table."""
    system = fields.get("system")
    return system if isinstance(system, Mapping) else {}
