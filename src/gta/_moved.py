"""Old module names that go on working for one release: aliases of where things live now.

Importing an old name gives the very module that the new name gives, and one FutureWarning that states the new name.
"""

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import warnings
from types import ModuleType

_VIDEO = ("container", "conversion", "decoding", "formats", "limits", "packets", "pictures", "scan", "still")
_DATASETS = ("check", "index", "layouts", "listing", "prepare", "workers")
_CLIPS = ("dataset", "labels", "loader", "presets", "sampling", "show", "transforms")
_TRAINING = (
    "augment",
    "averaging",
    "curves",
    "fit",
    "folder_lock",
    "launch",
    "loop",
    "memory",
    "module",
    "norms",
    "optim",
    "run_state",
    "step",
)

MOVED: dict[str, str] = {
    **{f"gta.data.{name}": f"gta.video.{name}" for name in _VIDEO},
    "gta.data.decode": "gta.video.reading",
    "gta.data.video": "gta.video.file",
    "gta.data.frames": "gta.video.folder",
    **{f"gta.data.{name}": f"gta.datasets.{name}" for name in _DATASETS},
    **{f"gta.data.{name}": f"gta.clips.{name}" for name in _CLIPS},
    "gta.data.synthetic": "gta.synthetic",
    **{f"gta.engine.{name}": f"gta.training.{name}" for name in _TRAINING},
    "gta.engine.evaluate": "gta.evaluation.scores",
    "gta.engine.metrics": "gta.evaluation.metrics",
    "gta.engine.progress": "gta.training.display",
    "gta.engine.run_folder": "gta.training.folder",
    "gta.engine.stopping": "gta.training.signals",
    **{f"gta.studies.{name}": f"gta.evaluation.{name}" for name in ("orders", "probe", "statistics")},
    "gta.studies.frame_store": "gta.datasets.frame_store",
}


def _new_name(old: str) -> str | None:
    """Return where a module lives now, the modules inside a moved package included."""
    name, rest = old, ""
    while name.count(".") > 1:
        if name in MOVED:
            return MOVED[name] + rest
        name, _, last = name.rpartition(".")
        rest = f".{last}{rest}"
    return None


class _Alias(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds a moved module under its old name, and loads it by importing the new one."""

    def find_spec(
        self, fullname: str, path: object, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        new = _new_name(fullname)
        return importlib.util.spec_from_loader(fullname, self) if new and importlib.util.find_spec(new) else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        new = _new_name(spec.name)
        assert new is not None, spec.name
        warnings.warn(
            f"{spec.name} is {new} now; the old name will be removed in the next release", FutureWarning, stacklevel=2
        )
        module = importlib.import_module(new)
        self._true_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """The module has run already; the import system must not leave it with the alias's name."""
        module.__spec__ = self._true_spec
        sys.modules[module.__name__] = module


def install() -> None:
    """Make the old names importable; called by the packages that were moved."""
    if not any(isinstance(finder, _Alias) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Alias())  # before the path finder, which would load moved packages' modules twice
