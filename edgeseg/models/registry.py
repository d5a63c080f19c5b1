"""Registry: finds model folders, downloads their weights and checks them against the manifest."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from edgeseg.errors import ConfigError, ModelError
from edgeseg.models import manifest
from edgeseg.models.model import Artefact, Blob, Model
from edgeseg.system import paths
from edgeseg.yamlfile import suggestion

ATTEMPTS = 4
PAUSE_S = 1.0

Progress = Callable[[Blob, int], None]


@dataclass(frozen=True, slots=True)
class BlobState:
    """What was found of one file. path: where it is, or where ``pull`` would put it.

    found: sha256 of what is there, None where it is missing.
    """

    blob: Blob
    path: Path
    state: Literal["ok", "missing", "damaged"]
    found: str | None


def find(name: str) -> Model:
    """Return the model called ``name``, or at the path ``name``: a folder, a manifest, or an .onnx or .tflite
    file with its manifest beside it (``<file stem>.yaml`` or ``model.yaml``).

    Raises ModelError (no such model), ConfigError (its manifest is invalid).
    """
    path = Path(name).expanduser()
    if path.name == name and path.suffix not in (".yaml", ".onnx", ".tflite"):
        for folder in search_path():
            candidate = folder / name / manifest.MANIFEST
            if name not in (".", "..") and candidate.is_file():
                return manifest.load(candidate)
        if not (path / manifest.MANIFEST).is_file():
            looked = ", ".join(str(folder) for folder in search_path())
            raise ModelError(f"no model '{name}' in {looked or 'any folder'}{suggestion(name, _names())}")
    return _at(path)


def list_models() -> tuple[Model, ...]:
    """Return every model on the search path, by name; the first of a name counts. Raises ConfigError."""
    return tuple(find(name) for name in sorted(_names()))


def models_with(class_name: str) -> tuple[str, ...]:
    """Return the names of the models on the search path that have this class.

    Models with an invalid manifest have none.
    """
    found = []
    for name in sorted(_names()):
        with contextlib.suppress(ConfigError, ModelError):
            found += [name] if class_name in find(name).classes else []
    return tuple(found)


def search_path() -> tuple[Path, ...]:
    """Return where model folders are looked for, in order: EDGESEG_MODELS (folders separated by ``:``),
    ``models`` in the current folder, the ones shipped with edgeseg. Only those that exist."""
    folders = [Path(part) for part in os.environ.get("EDGESEG_MODELS", "").split(os.pathsep) if part]
    folders += [Path("models"), paths.folder("models")]
    unique = {folder.resolve(): folder for folder in reversed(folders) if folder.is_dir()}
    return tuple(reversed(list(unique.values())))


def artefact_path(model: Model, artefact: Artefact) -> Path:
    """Return the verified file to give to an engine. Raises ModelError: not there, or not what was pinned."""
    for found in inspect(model, artefact):
        if found.state == "missing":
            raise ModelError(
                f"model {model.name}: its weights {found.blob.file} are not here; "
                f"fetch them with `edgeseg models pull {model.name}`"
            )
        if found.state == "damaged":
            raise ModelError(_damage(model, found))
    return _locate(model, artefact.blob)


def inspect(model: Model, artefact: Artefact | None = None) -> tuple[BlobState, ...]:
    """Hash the files of one artefact, or of all."""
    chosen = model.artefacts if artefact is None else (artefact,)
    states = []
    for blob in (blob for item in chosen for blob in item.blobs):
        path = _locate(model, blob)
        if not path.is_file():
            states.append(BlobState(blob, _home(model) / blob.file, "missing", None))
            continue
        found = sha256(path)
        states.append(BlobState(blob, path, "ok" if found == blob.sha256 else "damaged", found))
    return tuple(states)


def check(model: Model) -> None:
    """Raises ModelError for the first file that is there but not what the manifest pins."""
    for found in inspect(model):
        if found.state == "damaged":
            raise ModelError(_damage(model, found))


def has_weights(model: Model, artefact: Artefact) -> bool:
    """Return whether the artefact's files are there at all; they are not checked."""
    return all(_locate(model, blob).is_file() for blob in artefact.blobs)


def pull(
    model: Model, progress: Progress | None = None, stop: threading.Event | None = None
) -> tuple[Path, ...]:
    """Make sure every file of the model is there and is the pinned one. Returns where they are.

    A file comes from the folder EDGESEG_MODEL_MIRROR (``<name>/<file>`` or ``<file>``) where that has
    it, else from its URL. It grows as ``<file>.partial``, which a later call goes on with, and takes its
    name only after its sha256 was right. progress: called with the file and the bytes there are.
    stop: ends the pauses between attempts. Raises ModelError.
    """
    files = []
    for found in inspect(model):
        path = found.path
        if found.state != "ok":
            path = _home(model) / found.blob.file
            try:
                _obtain(model, found.blob, path, progress or _silent, stop or threading.Event())
            except OSError as error:
                raise ModelError(f"{path}: cannot be written: {error.strerror or error}") from None
            if found.state == "damaged" and found.path != path:
                raise ModelError(f"{_damage(model, found)} (a good copy is now at {path})")
        files.append(path)
    return tuple(files)


def sha256(path: Path) -> str:
    """Return lower-case hex. Raises ModelError where the file cannot be read."""
    try:
        with path.open("rb") as stream:
            return _digest(stream)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read: {error.strerror or error}") from None


_PACKAGE = Path(__file__).resolve().parent.parent


def _silent(blob: Blob, done_bytes: int) -> None:
    pass


def _names() -> set[str]:
    return {path.parent.name for folder in search_path() for path in folder.glob(f"*/{manifest.MANIFEST}")}


def _at(path: Path) -> Model:
    if path.is_dir():
        path = path / manifest.MANIFEST
        if not path.is_file():
            raise ModelError(f"{path.parent}: has no {manifest.MANIFEST}; a model folder needs one")
    if not path.is_file():
        raise ModelError(f"{path}: no such model folder or file")
    if path.suffix in (".yaml", ".yml"):
        return manifest.load(path)
    beside = [path.with_suffix(".yaml"), path.parent / manifest.MANIFEST]
    for candidate in beside:
        if candidate.is_file():
            model = manifest.load(candidate)
            only = tuple(artefact for artefact in model.artefacts if artefact.blob.file == path.name)
            if not only:
                raise ModelError(f"{path}: its manifest {candidate} does not list it under artefacts")
            return replace(model, artefacts=only, input=only[0].input)
    raise ModelError(f"{path}: needs a manifest beside it: {beside[0].name} or {beside[1].name}")


def _locate(model: Model, blob: Blob) -> Path:
    """Where the file is: beside its manifest, else in the cache; the cache path where it is nowhere."""
    beside = model.folder / blob.file
    return beside if beside.is_file() else _cache(model) / blob.file


def _cache(model: Model) -> Path:
    return paths.cache_dir() / "models" / model.name


def _home(model: Model) -> Path:
    """Where ``pull`` puts files: beside the manifest, unless a cache was named or that is not ours."""
    installed = (_PACKAGE / "share").resolve() in model.folder.resolve().parents
    if "EDGESEG_CACHE" in os.environ or installed or not os.access(model.folder, os.W_OK):
        return _cache(model)
    return model.folder


def _obtain(model: Model, blob: Blob, path: Path, progress: Progress, stop: threading.Event) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    with _locked(partial) as stream:
        mirror = _in_mirror(model, blob)
        if mirror is not None:
            _copy(mirror, stream, blob, progress)
            source = str(mirror)
        else:
            _download(model, blob, stream, progress, stop)
            source = str(blob.url)
        found = _digest(stream)
        if found != blob.sha256:
            partial.unlink()
            size = stream.seek(0, os.SEEK_END)
            raise ModelError(
                f"{source}: sha256 is {found} ({size} bytes), {model.name} pins {blob.sha256} "
                f"({blob.bytes} bytes); nothing was kept: the file was replaced at its origin or altered "
                "on the way"
            )
        stream.flush()
        os.fsync(stream.fileno())
        partial.replace(path)


@contextlib.contextmanager
def _locked(partial: Path) -> Iterator[BinaryIO]:
    """Open the partial file for this process alone."""
    with partial.open("a+b") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ModelError(f"{partial}: another edgeseg is fetching this file; wait for it") from None
        try:
            yield stream
        finally:
            if partial.exists() and partial.stat().st_size == 0:
                partial.unlink()


def _in_mirror(model: Model, blob: Blob) -> Path | None:
    root = os.environ.get("EDGESEG_MODEL_MIRROR")
    if not root:
        return None
    candidates = (Path(root) / model.name / blob.file, Path(root) / blob.file)
    return next((path for path in candidates if path.is_file()), None)


def _copy(origin: Path, into: BinaryIO, blob: Blob, progress: Progress) -> None:
    into.truncate(0)
    done = 0
    with origin.open("rb") as stream:
        while chunk := stream.read(1 << 20):
            into.write(chunk)
            done += len(chunk)
            progress(blob, done)


def _download(model: Model, blob: Blob, into: BinaryIO, progress: Progress, stop: threading.Event) -> None:
    """Try a few times, going on where the last attempt was cut. Raises ModelError."""
    if blob.url is None:
        raise ModelError(
            f"model {model.name}: {blob.file} is not here and its manifest names no url; put it into "
            f"{_home(model)}, or set EDGESEG_MODEL_MIRROR to a folder that holds it"
        )
    # Imported here: the daemon starts without an HTTP client.
    from edgeseg.system.download import DownloadError, fetch

    have = into.seek(0, os.SEEK_END)
    if have >= blob.bytes:
        if have == blob.bytes and _digest(into) == blob.sha256:
            return
        into.truncate(0)
    for attempt in range(1, ATTEMPTS + 1):
        began = into.seek(0, os.SEEK_END)
        try:
            fetch(blob.url, into, blob.bytes, lambda done: progress(blob, done))
        except DownloadError as error:
            if not error.retry or attempt == ATTEMPTS or stop.wait(PAUSE_S):
                raise ModelError(_no_download(model, blob, error)) from None
            continue
        if began == 0 or _digest(into) == blob.sha256:
            return
        # The part that an earlier attempt left was wrong; only a download in one piece shows more.
        into.truncate(0)
    return


def _no_download(model: Model, blob: Blob, error: Exception) -> str:
    return (
        f"model {model.name}: {blob.url}: {error}; run `edgeseg models pull {model.name}` again to go on "
        "where it stopped; offline: set EDGESEG_MODEL_MIRROR to a folder that holds the file"
    )


def _digest(stream: BinaryIO) -> str:
    """Return the sha256 of the whole file, with the stream at its end."""
    stream.flush()
    stream.seek(0)
    digest = hashlib.sha256()
    while chunk := stream.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


def _damage(model: Model, found: BlobState) -> str:
    size = found.path.stat().st_size
    cause = "cut short" if size < found.blob.bytes else "altered, or another version"
    return (
        f"{found.path}: sha256 is {found.found} ({size} bytes), {model.name} pins {found.blob.sha256} "
        f"({found.blob.bytes} bytes); it is {cause} and will not be loaded: delete it, then "
        f"`edgeseg models pull {model.name}`"
    )
