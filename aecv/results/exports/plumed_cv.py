"""The blocks of a PLUMED input that compute the CV; each ends in actions xi_1, xi_2, ...

A learned CV comes in three forms:

    pytorch   PYTORCH_MODEL (module pytorch, libtorch): the alignment is inside cv.pt
    ann       FIT_TO_TEMPLATE, then ANN (module annfunc): the weights stand in the input
    plain     FIT_TO_TEMPLATE, COMBINE and CUSTOM: actions that every PLUMED has

Internal coordinates need no form: TORSION, ANGLE, DISTANCE and POSITION. Source: PLUMED's src/annfunc/ANN.cpp
(ACTIVATIONS names one function per layer, the last one included; weights by rows of outputs),
src/pytorch/PytorchModel.cpp, src/generic/FitToTemplate.cpp.
"""

from aecv.ground.errors import CVError
from aecv.ground.observable_kinds import KINDS
from aecv.numerics.kernels.encoder import Encoder
from aecv.numerics.kernels.internal import InternalCoordinates
from aecv.numerics.kernels.network import ELU, IDENTITY, RELU, SIGMOID, SOFTPLUS, TANH
from aecv.results.exports.reference_pdb import biases_after_fit
from aecv.results.exports.subject import ExportedCV, Form, hidden_activations, listed, number

AXES = "xyz"
_ANN = {TANH: "Tanh", IDENTITY: "Linear"}
_FORMULAS = {
    TANH: "tanh({0})",
    IDENTITY: "{0}",
    SIGMOID: "1/(1+exp(-({0})))",
    ELU: "max({0},0)+exp(min({0},0))-1",
    SOFTPLUS: "max({0},0)+log(1+exp(-abs({0})))",
    RELU: "max({0},0)",
}


def cv_blocks(cv: ExportedCV, form: Form) -> str:
    """The text from the first action to xi_d.

    Args:
        form: of a learned CV; without effect on internal coordinates.

    Raises:
        CVError: when the form needs weights and there are none.
    """
    if isinstance(cv.kernel, InternalCoordinates):
        return whole_molecule(cv) + internal_block(cv, cv.kernel)
    if form == "pytorch":
        return whole_molecule(cv) + positions(cv) + pytorch_block(cv)
    network = cv.network(form)
    block = ann_block(cv, network) if form == "ann" else plain_block(cv, network)
    return whole_molecule(cv) + fit(network) + positions(cv) + block


def whole_molecule(cv: ExportedCV) -> str:
    """WHOLEMOLECULES for a simulation in a periodic box."""
    if not cv.in_box:
        return "# No periodic boundaries: NOPBC below takes all positions as they are.\n\n"
    entities = [f"ENTITY{k}={','.join(map(str, path))}" for k, path in enumerate(cv.entities)]
    branches = "# Every further list begins with an atom of an earlier one.\n" if len(entities) > 1 else ""
    return (
        "# Periodic boundaries: put the CV's atoms into one image, each next to the one before it, as the\n"
        "# CV takes positions as they are (NOPBC below). Where neighbours in this list are farther apart\n"
        "# than half the box, list the atoms between them as well.\n"
        f"{branches}WHOLEMOLECULES {' '.join(entities)}\n\n"
    )


def fit(network: Encoder) -> str:
    """FIT_TO_TEMPLATE where the network wants aligned positions."""
    if not network.is_aligned:
        return ""
    return (
        "# Move and turn all atoms so that those of the CV lie best on the reference (equal weights). Every\n"
        "# action below sees the positions in this frame. The first biases of the network allow for the\n"
        "# centre of the reference, which is near the origin but not on it.\n"
        "FIT_TO_TEMPLATE REFERENCE=reference.pdb TYPE=OPTIMAL NOPBC\n\n"
    )


def positions(cv: ExportedCV) -> str:
    """One POSITION per atom, in the CV's order."""
    lines = [
        f"a{serial}: POSITION ATOM={serial} NOPBC  # {name.residue}{name.residue_number} {name.name}"
        for serial, name in zip(cv.serials, cv.atom_names, strict=True)
    ]
    return "\n".join(["# Positions of the CV's atoms [nm]; PLUMED counts atoms from 1.", *lines, "", ""])


def pytorch_block(cv: ExportedCV) -> str:
    """PYTORCH_MODEL and one name per component."""
    return (
        "# The network, alignment included. PLUMED hands it positions in single precision: xi is exact to\n"
        "# some 1e-7 near the origin, 1e-5 at 5 nm from it, and worse farther out.\n"
        f"xi: PYTORCH_MODEL FILE=cv.pt ARG={inputs(cv)}\n" + nodes(cv)
    )


def ann_block(cv: ExportedCV, network: Encoder) -> str:
    """ANN with its weights inline, and one name per component."""
    layers = network.layers[:, 0].tolist()
    hidden = hidden_activations(network, _ANN, "PLUMED's ANN")
    lines = [
        f"# The network: {hidden} layers, the last one linear. Weights by rows, a row per output.",
        "xi: ANN ...",
        f"  ARG={inputs(cv)}",
        f"  NUM_LAYERS={len(layers)}",
        f"  NUM_NODES={','.join(map(str, layers))}",
        f"  ACTIVATIONS={','.join(_ANN[f] for f in network.activations)}",
    ]
    for index, (weights, biases) in enumerate(zip(network.weights, biases_after_fit(network), strict=True)):
        lines += [f"  WEIGHTS{index}={listed(weights)}", f"  BIASES{index}={listed(biases)}"]
    return "\n".join([*lines, "...", ""]) + nodes(cv)


def plain_block(cv: ExportedCV, network: Encoder) -> str:
    """A COMBINE and a CUSTOM per neuron."""
    hidden = hidden_activations(network, _FORMULAS, "CUSTOM")
    lines = [
        "# The network, neuron by neuron: COMBINE sums the inputs, CUSTOM adds the bias and takes "
        f"{hidden}; the",
        "# last layer is linear. PLUMED before 2.5 calls CUSTOM MATHEVAL.",
    ]
    arguments, last = inputs(cv), len(network.weights) - 1
    parts = zip(network.weights, biases_after_fit(network), network.activations, strict=True)
    for layer, (weights, biases, activation) in enumerate(parts):
        outputs = []
        for j, (row, bias) in enumerate(zip(weights, biases, strict=True)):
            label = cv.labels[j] if layer == last else f"h{layer + 1}_{j + 1}"
            shifted = f"x{number(bias)}" if bias < 0 else f"x+{number(bias)}"
            function = _FORMULAS[activation].format(shifted)
            lines += [
                f"{label}_sum: COMBINE ARG={arguments} COEFFICIENTS={listed(row)} PERIODIC=NO",
                f"{label}: CUSTOM ARG={label}_sum FUNC={function} PERIODIC=NO",
            ]
            outputs.append(label)
        arguments = ",".join(outputs)
    return "\n".join([*lines, ""])


def internal_block(cv: ExportedCV, coordinates: InternalCoordinates) -> str:
    """One action per internal coordinate; angles in rad, distances and coordinates in nm.

    Raises:
        CVError: for a kind that PLUMED has no action for.
    """
    lines = ["# The components of the CV: angles [rad], distances and coordinates [nm]."]
    for c, (kind, atoms, axis) in enumerate(
        zip(coordinates.kinds, coordinates.atoms, coordinates.axes, strict=True)
    ):
        serials = ",".join(str(cv.serials[atom]) for atom in atoms)
        label = cv.labels[c]
        if not KINDS[kind].plumed:
            raise CVError(
                f"export of {cv.title}: PLUMED has no action for {KINDS[kind].words}; bias along it with "
                "aecv (--engine native)"
            )
        if axis is None:
            lines.append(f"{label}: {KINDS[kind].plumed} ATOMS={serials} NOPBC")
        else:
            lines += [
                f"p_{c + 1}: POSITION ATOM={serials} NOPBC",
                f"{label}: COMBINE ARG=p_{c + 1}.{AXES[axis]} PERIODIC=NO",
            ]
    return "\n".join([*lines, ""])


def inputs(cv: ExportedCV) -> str:
    """Arguments of the first layer: x, y, z of every atom."""
    return ",".join(f"a{serial}.{axis}" for serial in cv.serials for axis in AXES)


def nodes(cv: ExportedCV) -> str:
    """The outputs of a network under the names that the other forms have as well."""
    return "".join(f"{label}: COMBINE ARG=xi.node-{c} PERIODIC=NO\n" for c, label in enumerate(cv.labels))
