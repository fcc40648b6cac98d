"""The kinds of collective variable whose files aecv writes and reads: one line each, and nowhere else."""

from aecv.models.cvs.cv_map import CVMap
from aecv.models.cvs.encoder_map import EncoderMap
from aecv.models.cvs.internal_map import InternalMap
from aecv.models.cvs.learned_map import LearnedMap

_KINDS: tuple[type[CVMap], ...] = (
    EncoderMap,
    InternalMap,
    LearnedMap,
)
DESCRIBED = {kind.kind: kind for kind in _KINDS}
"""By what cv.json says of the kind."""
FORMS = {name: kind.form for name, kind in DESCRIBED.items() if kind.form is not None}
