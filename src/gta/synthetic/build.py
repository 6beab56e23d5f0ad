"""Making a whole data set: in batches, in as many processes as wanted, picking up where an earlier run stopped."""

import json
import shutil
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from gta.config import WrittenLayout
from gta.errors import DataError, OptionError
from gta.files import write_json
from gta.processes import create_pool, start_method
from gta.progress import counted
from gta.stored import StoredError, read_json
from gta.synthetic.classes import CLASSES, HARD_CLASSES, permutation_invariant_ceiling
from gta.synthetic.layouts import MANIFEST, PlannedVideo, SynthesisConfig, plan_videos, write_annotations
from gta.synthetic.parameters import Difficulty
from gta.synthetic.render import FRAME_SIZE
from gta.synthetic.write import KEYFRAME_INTERVAL, write_clip, write_mask

_BATCH = 16  # videos per task: a fraction of a second, so that progress is smooth and handing over costs nothing


@dataclass(frozen=True)
class SynthesisSummary:
    """What a call of `synthesize` did, and what the folder now contains."""

    root: Path
    """The folder."""
    layout: WrittenLayout
    """Its layout."""
    classes: tuple[str, ...]
    """Names of the classes."""
    num_train: int
    """Number of training videos."""
    num_val: int
    """Number of validation videos."""
    num_test: int
    """Number of test videos."""
    num_rendered: int
    """Number of videos that this call rendered."""
    num_kept: int
    """Number of videos that already existed."""
    seconds: float
    """Wall time of this call, in seconds."""
    ceiling: float
    """Best top-1, in [0, 1], that a model can reach without seeing the order of the frames."""


def synthesize(
    root: str | Path,
    *,
    layout: WrittenLayout = "folder",
    num_videos: int = 1280,
    seed: int = 0,
    val_fraction: float = 0.2,
    test_fraction: float = 0.0,
    frame_size: tuple[int, int] = FRAME_SIZE,
    keyframe_interval: int = KEYFRAME_INTERVAL,
    num_workers: int = 0,
    live: bool | None = None,
    classes: Sequence[str] | None = None,
    masks: bool = False,
    difficulty: Difficulty = "normal",
    progress: bool | None = None,
) -> SynthesisSummary:
    """Render the synthetic data set into the folder `root`; files that already exist from the same settings are kept.

    Args:
        root: folder to create or to complete.
        layout: `folder`, `ssv2`, `ssv1` or `kinetics`: whose files, names and annotations to imitate.
        num_videos: total number of videos in all splits; the classes are balanced in each split.
        seed: the same seed gives the same frames and files, whatever the number of workers.
        val_fraction: share of the validation split, in [0, 1).
        test_fraction: share of the test split, in [0, 1); its annotations lack the answers where the real ones do.
        frame_size: height and width in pixels, each even and at least 32.
        keyframe_interval: frames between key frames; see `write_clip`.
        num_workers: processes that render; 0 renders in this one.
        live: whether to draw a progress bar; by default, only in a terminal or a notebook.
        classes: names from `CLASSES` or, if `difficulty` is `hard`, from `HARD_CLASSES`; by default, all.
        masks: also write where the object is in each frame (`write_mask`), into the folder `masks`.
        difficulty: `hard` has ten more classes, several moving objects, a moving camera and occlusions.
        progress: the old name of `live`.

    Raises:
        OptionError: a setting is invalid.
        DataError: `root` contains something else, or the same data set with other settings.
    """
    if progress is not None:
        warnings.warn(
            "progress is live now; the old name will be removed in the next release", FutureWarning, stacklevel=2
        )
        live = None if progress else False
    config = SynthesisConfig(
        layout=layout,
        num_videos=num_videos,
        seed=seed,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        frame_size=(frame_size[0], frame_size[1]),
        keyframe_interval=keyframe_interval,
        classes=(HARD_CLASSES if difficulty == "hard" else CLASSES) if classes is None else tuple(classes),
        masks=masks,
        difficulty=difficulty,
    )
    if num_workers < 0:
        raise OptionError(f"`num_workers` is {num_workers}: it must be 0 or more")
    started = time.perf_counter()
    root = Path(root)
    _claim(root, config)
    videos = plan_videos(config)
    missing = {video.path for video in videos if not (root / video.path).exists()}
    incomplete = [
        video for video in videos if video.path in missing or (config.masks and not (root / video.mask_path).exists())
    ]
    _render_all(root, config, incomplete, num_workers, live)
    write_annotations(root, config, videos)  # last, so that an interrupted data set does not look complete
    sizes = config.split_sizes()
    return SynthesisSummary(
        root=root,
        layout=config.layout,
        classes=config.classes,
        num_train=sizes["train"],
        num_val=sizes["val"],
        num_test=sizes["test"],
        num_rendered=len(missing),
        num_kept=len(videos) - len(missing),
        seconds=time.perf_counter() - started,
        ceiling=permutation_invariant_ceiling(config.classes),
    )


def _claim(root: Path, config: SynthesisConfig) -> None:
    """Create `root` with its manifest, or check that it was begun with the same settings; remove broken-off files."""
    if root.exists() and not root.is_dir():
        raise DataError(f"{root}: this is a file; give a folder to create")
    manifest = root / MANIFEST
    if not manifest.exists():
        if root.exists() and any(not entry.name.startswith(f".{manifest.stem}-") for entry in root.iterdir()):
            raise DataError(f"{root}: the folder is not empty and holds no {MANIFEST}; choose a new or empty folder")
        root.mkdir(parents=True, exist_ok=True)
        write_json(manifest, config.manifest())
        return
    try:
        found = read_json(manifest)
    except (StoredError, OSError) as error:
        raise DataError(f"{manifest}: cannot be read ({error}); delete the folder or choose another") from error
    if not isinstance(found, dict):
        raise DataError(f"{manifest}: is not the record of a synthetic data set; choose another folder")
    for key, wanted in config.manifest().items():
        if found.get(key) != wanted:
            raise DataError(
                f"{root}: holds a synthetic data set made with {key} {_brief(found.get(key))}, not {_brief(wanted)}; "
                "repeat with the same options to complete it, or choose another folder"
            )
    for leftover in _leftovers(root):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)


def _brief(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _leftovers(root: Path) -> list[Path]:
    """Find the temporary files and folders of runs that were killed in the middle of a video."""
    return [path for pattern in (".*-*.part.*", ".*-*.part") for path in root.rglob(pattern)]


def _render_all(
    root: Path, config: SynthesisConfig, videos: Sequence[PlannedVideo], num_workers: int, live: bool | None
) -> None:
    batches = [tuple(videos[start : start + _BATCH]) for start in range(0, len(videos), _BATCH)]
    with counted("rendering", len(videos), live=live) as advance:
        if num_workers == 0:
            for video in videos:
                _render_batch(root, config, (video,))
                advance(1)
        else:
            for finished in _in_processes(root, config, batches, num_workers):
                advance(finished)


def _render_batch(root: Path, config: SynthesisConfig, batch: tuple[PlannedVideo, ...]) -> int:
    """Render and write some videos; the unit of work of a process. Returns how many."""
    for video in batch:
        path, mask = root / video.path, root / video.mask_path
        name, seed, index, size = video.class_name, config.seed, video.index, config.frame_size
        if not path.exists():
            interval = config.keyframe_interval
            write_clip(
                path,
                name,
                seed=seed,
                index=index,
                frame_size=size,
                keyframe_interval=interval,
                difficulty=config.difficulty,
            )
        if config.masks and not mask.exists():
            write_mask(mask, name, seed=seed, index=index, frame_size=size, difficulty=config.difficulty)
    return len(batch)


def _in_processes(
    root: Path, config: SynthesisConfig, batches: Iterable[tuple[PlannedVideo, ...]], num_workers: int
) -> Iterator[int]:
    """Render batches in processes; gives the size of each as it is finished, in any order."""
    with create_pool(num_workers) as pool:
        try:
            pending: list[Future[int]] = [pool.submit(_render_batch, root, config, batch) for batch in batches]
            for future in as_completed(pending):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                f"{root}: a rendering process died{_why_it_may_have()}; repeat to complete the data set"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _why_it_may_have() -> str:
    if start_method() == "fork":
        return " (out of memory?)"
    return ' (out of memory, or a script without `if __name__ == "__main__":`? num_workers=0 needs no processes)'
