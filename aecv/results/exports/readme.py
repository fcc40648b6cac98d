"""The README beside an exported input: what is there and how it is run."""

from collections.abc import Sequence

from aecv.results.exports.subject import ExportedBias, ExportedCV, ExportOptions, Form, short

FILES = {
    "plumed.dat": "the input; comments explain each block",
    "colvars.in": "the input; comments explain each block",
    "cv.pt": "the CV as TorchScript: positions of its atoms [nm] in, xi out, alignment inside",
    "reference.pdb": "the atoms of the CV in their order, centred; frames are fitted onto it",
}


def plumed_readme(
    cv: ExportedCV, bias: ExportedBias, options: ExportOptions, files: Sequence[str], needs: Sequence[str]
) -> str:
    """README.md of a PLUMED folder."""
    return f"""# {cv.title}, for PLUMED

Written by aecv. Form: {options.form}; bias: {bias.kind}.
Needs {", and the ".join(needs)}.

{files_table(files)}

Run in this folder, or copy its files to where the simulation runs. Units are nm, ps and kJ/mol; the
temperature should be {short(bias.temperature_k)} K. {atoms_line(cv)}

## OpenMM

With openmm-plumed (conda-forge):

```python
from pathlib import Path

from openmmplumed import PlumedForce

system.addForce(PlumedForce(Path("plumed.dat").read_text()))  # before the Context or Simulation is made
```

Added later, the force is silently left out.

## GROMACS

With a GROMACS that is patched by PLUMED (from 2025 on one without a patch does, given the kernel's path
in `PLUMED_KERNEL`):

    gmx mdrun -s topol.tpr -plumed plumed.dat

## Values on frames

`plumed driver` evaluates the CV on a trajectory; take an export without bias (`--bias none`) for that:

    plumed driver --plumed plumed.dat --mf_dcd frames.dcd \\
      --timestep {short(options.timestep_ps)} --trajectory-stride {bias.print_steps}

COLVAR then holds {", ".join(cv.labels)}, as `aecv.load_cv(...)` gives them{_precision(options.form)}.
"""


def colvars_readme(cv: ExportedCV, bias: ExportedBias, form: Form, files: Sequence[str]) -> str:
    """README.md of a Colvars folder."""
    return f"""# {cv.title}, for Colvars

Written by aecv. Form: {form}; bias: {bias.kind}. **Not tested**: no engine with Colvars was at hand;
compare xi on a few frames with `aecv.load_cv(...)` before a run.

{files_table(files)}

{atoms_line(cv)}

- GROMACS 2024 or newer: in the .mdp file `colvars-active = yes` and `colvars-configfile = colvars.in`.
- NAMD: `colvars on` and `colvarsConfig colvars.in`.
- LAMMPS: `fix colvars all colvars colvars.in`.
"""


def files_table(files: Sequence[str]) -> str:
    """The files of a folder and what they are, as a table of Markdown."""
    rows = [f"| `{name}` | {FILES.get(name, 'weights or biases of a layer')} |" for name in files]
    return "\n".join(["| file | what |", "|---|---|", *rows])


def atoms_line(cv: ExportedCV) -> str:
    """The atoms of a CV by number and name, in a sentence."""
    names = ", ".join(
        f"{serial} ({name.residue}{name.residue_number} {name.name})"
        for serial, name in zip(cv.serials, cv.atom_names, strict=True)
    )
    return f"The CV's atoms, counted from 1, in its order: {names}."


def _precision(form: Form) -> str:
    return " in single precision: to 1e-7 near the origin, 1e-5 at 5 nm" if form == "pytorch" else ""
