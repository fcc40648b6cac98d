"""The TorchScript file of another program as a kind of CV: positions [nm] to xi, as they are."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from aecv.ground.files import sha256
from aecv.models.cvs.cv_map import TorchMap


@dataclass(frozen=True, kw_only=True, eq=False)
class ScriptMap(TorchMap):
    """A TorchScript module, told by its file."""

    kind: ClassVar[str] = "script"

    path: Path

    @property
    def identity_text(self) -> str:
        return sha256(self.path)

    @cached_property
    def module(self) -> Any:
        from aecv.models.cvs.torchscript import read_module

        return read_module(self.path)[0]
