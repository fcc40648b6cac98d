"""A Colvars input (GROMACS, NAMD, LAMMPS): the network as torchANN or as neuralNetwork, and ABF on it.

    pytorch   torchANN (libtorch): raw positions into cv.pt, which aligns them
    ann       neuralNetwork: the weights in text files, a distanceZ per input, measured after a fit

Source: the reference manual of Colvars (doc/colvars-refman-main.tex) and src/colvarcomp_torchann.cpp,
src/colvarcomp_neuralnetwork.cpp, src/colvarcomp_combination.cpp: components inside a network are sorted by
their names, and the input files are read by whitespace, a row per output.
"""

from aecv.ground.arrays import FloatArray
from aecv.ground.errors import CVError
from aecv.numerics.extended_abf.abf import ExtendedVariable
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.numerics.kernels.network import ELU, IDENTITY, RELU, SIGMOID, TANH
from aecv.results.exports.readme import colvars_readme
from aecv.results.exports.subject import BIASES as ALL_BIASES
from aecv.results.exports.subject import FORMS as ALL_FORMS
from aecv.results.exports.subject import (
    BiasKind,
    ExportedBias,
    ExportedCV,
    ExportOptions,
    Form,
    check_word,
    hidden_activations,
    number,
    short,
    sigma,
    tau_ps,
)

LENGTHS: dict[str, float] = {"nm": 1.0, "angstrom": 10.0}
"""Length units of the engines per nm: GROMACS counts in nm, NAMD and LAMMPS (units real) in Angstrom."""
FORMS: tuple[Form, ...] = ("pytorch", "ann")
BIASES: tuple[BiasKind, ...] = ("drr", "none")
FS_PER_PS = 1000.0
_ACTIVATIONS = {TANH: "tanh", IDENTITY: "linear", SIGMOID: "sigmoid", ELU: "elu", RELU: "relu"}
_AXES = ("(1.0, 0.0, 0.0)", "(0.0, 1.0, 0.0)", "(0.0, 0.0, 1.0)")


def check_offered(bias: BiasKind, options: ExportOptions) -> None:
    """Refuse what is PLUMED's alone, and what is no word of either; see `targets.Exporter`.

    Raises:
        CVError: then.
    """
    words = (("form", options.form, FORMS, ALL_FORMS), ("bias", bias, BIASES, ALL_BIASES))
    for what, word, taken, known in words:
        if word in known and word not in taken:
            raise CVError(
                f"export: Colvars takes {' or '.join(taken)} as {what}, got '{word}', which is for PLUMED"
            )
        check_word(f"{what} for Colvars", word, taken)
    check_word("length unit", options.length, tuple(LENGTHS))


def input_texts(cv: ExportedCV, bias: ExportedBias, options: ExportOptions) -> dict[str, str]:
    """See `targets.Exporter`."""
    texts = {"colvars.in": colvars_input(cv, bias, options)}
    if options.form == "ann":
        texts |= weight_files(cv.network(options.form))
    return texts | {"README.md": colvars_readme(cv, bias, options.form, options.listed(cv, texts))}


def colvars_input(cv: ExportedCV, bias: ExportedBias, options: ExportOptions) -> str:
    """The text of colvars.in.

    Raises:
        CVError: for a form or a bias that Colvars does not have, or internal coordinates.
        GridError: when the grid of the bias is not that of the CV.
    """
    check_offered(bias.kind, options)
    form, length = options.form, options.length
    if isinstance(cv.kernel, InternalCoordinates):
        raise CVError(
            f"export of {cv.title}: only networks are written for Colvars; its own dihedral, angle and "
            "distance components need no export"
        )
    extended = None if bias.kind == "none" else bias.coupled(cv)
    head = [
        f"{cv.title}: {cv.size}. Written by aecv.",
        "NOT TESTED: no engine with Colvars was at hand. Compare xi on a few frames with aecv before a run.",
        f"Lengths of the engine: {length} (GROMACS nm; NAMD and LAMMPS with units real angstrom).",
        "The atoms of the CV must be whole; atoms are counted from 1.",
        "Needs Colvars built with libtorch (in GROMACS: -DGMX_NNPOT=TORCH)."
        if form == "pytorch"
        else "neuralNetwork fits the molecule anew for every input: slow. torchANN (form pytorch) fits once.",
    ]
    parts = ["\n".join(f"# {line}" for line in head), f"colvarsTrajFrequency {bias.print_steps}"]
    parts += [_variable(cv, bias, extended, form, c, LENGTHS[length]) for c in range(cv.n_components)]
    if extended is not None:
        parts.append(_abf(cv, bias, extended))
    return "\n\n".join(parts) + "\n"


def weight_files(network: Encoder) -> dict[str, str]:
    """Name and text of the files that the form `ann` reads: rows of outputs, columns of inputs."""
    files = {}
    for index, (weights, biases) in enumerate(zip(network.weights, network.biases, strict=True)):
        rows = "\n".join(" ".join(number(value) for value in row) for row in weights)
        files[f"layer{index + 1}_weights.txt"] = rows + "\n"
        files[f"layer{index + 1}_biases.txt"] = "\n".join(number(value) for value in biases) + "\n"
    return files


def _variable(
    cv: ExportedCV,
    bias: ExportedBias,
    extended: ExtendedVariable | None,
    form: Form,
    component: int,
    length: float,
) -> str:
    lines = ["colvar {", f"  name {cv.labels[component]}"]
    if extended is not None:
        lines += _coupling(bias, extended, component)
    # the network wants nm
    factor = number(1.0 / length)
    inner = (
        _torch(cv, component, factor)
        if form == "pytorch"
        else _layers(cv, cv.network(form), component, factor, length)
    )
    return "\n".join([*lines, *(f"  {line}" for line in inner), "}"])


def _coupling(bias: ExportedBias, extended: ExtendedVariable, c: int) -> list[str]:
    """Grid, spring and dynamics of lambda; time constants in fs, damping in 1/ps."""
    grid = extended.grid
    return [
        f"  lowerBoundary {number(grid.lower[c])}",
        f"  upperBoundary {number(grid.upper[c])}",
        f"  width {number(grid.widths[c])}",
        "  # lambda: spread [CV], period [fs], friction [1/ps], reflected at the boundaries",
        "  extendedLagrangian on",
        f"  extendedFluctuation {number(sigma(extended)[c])}",
        f"  extendedTimeConstant {short(FS_PER_PS * tau_ps(extended))}",
        f"  extendedLangevinDamping {short(extended.friction_per_ps)}",
        f"  extendedTemp {short(bias.temperature_k)}",
        "  reflectingLowerBoundary on",
        "  reflectingUpperBoundary on",
    ]


def _torch(cv: ExportedCV, component: int, factor: str) -> list[str]:
    return [
        "torchANN {",
        "  modelFile cv.pt",
        f"  output_component {component}",
        "  doubleInputTensor on",
        "  # positions as they are, in nm: the model aligns them itself",
        "  cartesian {",
        f"    componentCoeff {factor}",
        f"    atoms {{ {_group(cv)} }}",
        "  }",
        "}",
    ]


def _layers(cv: ExportedCV, network: Encoder, component: int, factor: str, length: float) -> list[str]:
    hidden_activations(network, _ACTIVATIONS, "Colvars' neuralNetwork")
    lines = ["neuralNetwork {", f"  output_component {component}"]
    n_layers = len(network.weights)
    for layer in range(1, n_layers + 1):
        lines += [
            f"  layer{layer}_WeightsFile layer{layer}_weights.txt",
            f"  layer{layer}_BiasesFile layer{layer}_biases.txt",
            f"  layer{layer}_activation {_ACTIVATIONS[network.activations[layer - 1]]}",
        ]
    fit = _fit(cv, network.reference * length) if network.is_aligned else []
    # sorted as texts, so the numbers are padded
    width = len(str(3 * len(cv.serials)))
    for index, serial in enumerate(cv.serials):
        for axis in range(3):
            lines += [
                "  distanceZ {",
                f"    name input{3 * index + axis:0{width}d}",
                f"    componentCoeff {factor}",
                "    forceNoPBC on",
                f"    axis {_AXES[axis]}",
                "    ref { dummyAtom (0.0, 0.0, 0.0) }",
                f"    main {{ atomNumbers {serial}",
                *(f"      {line}" for line in fit),
                "    }",
                "  }",
            ]
    return [*lines, "}"]


def _fit(cv: ExportedCV, reference: FloatArray) -> list[str]:
    """Move and turn onto the reference, whose unit is the engine's."""
    points = " ".join(f"({', '.join(number(x) for x in point)})" for point in reference)
    return [
        "centerToReference on",
        "rotateToReference on",
        f"fittingGroup {{ {_group(cv)} }}",
        f"refPositions {points}",
    ]


def _group(cv: ExportedCV) -> str:
    return f"atomNumbers {' '.join(map(str, cv.serials))}"


def _abf(cv: ExportedCV, bias: ExportedBias, extended: ExtendedVariable) -> str:
    return "\n".join(
        [
            "# Extended ABF: .grad along lambda, .czar.grad along xi.",
            "abf {",
            f"  colvars {' '.join(cv.labels)}",
            f"  fullSamples {extended.full_samples}",
            f"  outputFreq {bias.output_steps}",
            "}",
        ]
    )
