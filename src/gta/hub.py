"""Models on a Hugging Face hub: `hf://owner/name` to a local file, and a folder to a repository (no PyTorch).

huggingface_hub does the work: its cache (`HF_HOME`), its endpoint (`HF_ENDPOINT`), its token (`HF_TOKEN` or
`hf auth login`). No token is ever part of what is shown.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from gta.errors import CheckpointError, OptionError

WEIGHTS = "model.safetensors"
"""The file of a repository that holds weights and card."""

_NAME = r"[\w.-]+/[\w.-]+"
_ADDRESS = re.compile(rf"hf:/{{1,2}}({_NAME})(?:@([\w./-]+))?/?")  # pathlib makes one slash of two
_TOKEN = re.compile(r"hf_\w{6,}|(?i:bearer)\s+\S+")


def hub_name(path: str | Path) -> tuple[str, str | None] | None:
    """The repository and revision that `hf://owner/name[@revision]` names; None for anything else."""
    found = _ADDRESS.fullmatch(str(path))
    return None if found is None else (found[1], found[2])


def results_place(path: str | Path) -> Path:
    """The path beside which results about a model go by default: its own path, or for a model on the hub one here.

    >>> str(results_place("runs/mine/best.ckpt")), str(results_place("hf://owner/name"))
    ('runs/mine/best.ckpt', 'owner/name/model.safetensors')
    """
    named = hub_name(path)
    if named is None:
        return Path(path)
    repository, revision = named
    return Path(repository if revision is None else f"{repository}@{revision.replace('/', '_')}") / WEIGHTS


def fetch_weights(path: str | Path) -> Path:
    """The local file of a model on the hub, downloaded unless the cache has it; any other path as it is.

    Raises:
        CheckpointError: there is no such repository or file, or the hub cannot be reached.
    """
    named = hub_name(path)
    if named is None:
        if str(path).startswith("hf:/"):
            raise CheckpointError(
                f"{path}: the address of a model on the hub has the form hf://owner/name or hf://owner/name@revision"
            )
        return Path(path)
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    repository, revision = named
    try:
        with _one_line(f"hf://{repository}"):
            return Path(huggingface_hub.hf_hub_download(repository, WEIGHTS, revision=revision))
    except RepositoryNotFoundError:
        raise CheckpointError(
            f"hf://{repository}: no such repository, or no permission to read it (set HF_TOKEN or run hf auth login)"
        ) from None
    except LocalEntryNotFoundError:
        raise CheckpointError(
            f"hf://{repository}: the hub cannot be reached, and the model is not in the cache"
        ) from None
    except EntryNotFoundError:
        raise CheckpointError(f"hf://{repository}: it holds no {WEIGHTS}: it was not written by gta push") from None


def check_name(repository: str) -> None:
    """Refuse what cannot name a repository.

    Raises:
        OptionError: it is not `owner/name`.
    """
    if not re.fullmatch(_NAME, repository):
        raise OptionError(f"{repository}: the name of a repository has the form owner/name")


def push_folder(folder: Path, repository: str, *, private: bool = False, message: str = "Add the model") -> str:
    """Upload the files of a folder as one commit, into a repository that is made if it is missing.

    Returns:
        The address of the repository.

    Raises:
        OptionError: the name is not `owner/name`.
        CheckpointError: the hub cannot be reached or refuses.
    """
    check_name(repository)
    import huggingface_hub

    with _one_line(f"hf://{repository}"):
        api = huggingface_hub.HfApi()
        made = api.create_repo(repository, private=private, exist_ok=True)
        api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=message)
    return f"hf://{made.repo_id}"


@contextlib.contextmanager
def _one_line(what: str) -> Iterator[None]:
    """Turn what huggingface_hub and its client raise into one line without secrets."""
    import httpx
    from huggingface_hub.errors import (
        EntryNotFoundError,
        HfHubHTTPError,
        HFValidationError,
        LocalTokenNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        yield
    except (EntryNotFoundError, RepositoryNotFoundError):
        raise
    except LocalTokenNotFoundError:
        raise CheckpointError(f"{what}: no token: set HF_TOKEN or run hf auth login") from None
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        advice = ": the token is missing or may not do this (HF_TOKEN)" if status in (401, 403) else ""
        said = error.server_message or f"status {status}"
        raise CheckpointError(f"{what}: the hub refused the request ({_without_tokens(said)}){advice}") from None
    except (httpx.HTTPError, OSError, HFValidationError) as error:
        raise CheckpointError(f"{what}: the hub cannot be used ({_without_tokens(str(error))})") from None


def _without_tokens(text: str) -> str:
    return _TOKEN.sub("***", " ".join(text.split()))[:300]
