"""Is a checkpoint whole? ``torch.load`` does not notice zeros in the middle of one and would train on from them.

A plain checkpoint is a zip file in which torch stores a CRC-32 of every tensor. A sharded one is a folder as
PyTorch's distributed checkpoints are, with Lightning's ``meta.pt``: ``.metadata`` says where in which ``*.distcp``
file every piece lies, and every piece is such a zip file again.
"""

from __future__ import annotations

import io
import pickle
import zipfile
import zlib
from pathlib import Path
from typing import IO, Any

META, INDEX = "meta.pt", ".metadata"
_BROKEN = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError, LookupError, ArithmeticError, OSError)


def damage(checkpoint: Path) -> str | None:
    """What is wrong with a checkpoint; None if it is whole. Reads all of it, about 2 GB/s from memory.

    Args:
        checkpoint: a file or a sharded checkpoint's folder.
    """
    if not checkpoint.exists():
        return "a link to nothing" if checkpoint.is_symlink() else "no such file"
    if checkpoint.is_dir():
        return _damage_of_folder(checkpoint)
    if checkpoint.stat().st_size == 0:
        return "empty"
    with checkpoint.open("rb") as handle:
        return _damage_of_archive(handle)


def _damage_of_archive(handle: IO[bytes]) -> str | None:
    try:
        with zipfile.ZipFile(handle) as archive:
            broken = archive.testzip()
    except _BROKEN:  # zipfile meets nonsense in as many ways as there are
        return "torn or overwritten"
    return f"its part {broken} does not have its checksum" if broken else None


def _damage_of_folder(folder: Path) -> str | None:
    for name in (META, INDEX):
        if not (folder / name).is_file():
            return f"without {name}"
    with (folder / META).open("rb") as handle:
        found = _damage_of_archive(handle)
    if found:
        return f"{META}: {found}"
    try:
        pieces = _pieces(folder / INDEX)
    except Exception as error:  # what a broken pickle raises is as arbitrary as its bytes
        return f"{INDEX}: no index of the pieces ({type(error).__name__})"
    return next(filter(None, (_damage_of_pieces(folder / name, places) for name, places in pieces.items())), None)


def _damage_of_pieces(path: Path, places: list[tuple[int, int]]) -> str | None:
    if not path.is_file():
        return f"without {path.name}"
    with path.open("rb") as handle:
        for offset, length in places:
            found = _damage_of_archive(_Piece(handle, offset, length))
            if found:
                return f"{path.name} at byte {offset}: {found}"
    return None


class _Piece(io.RawIOBase, IO[bytes]):  # type: ignore[misc]
    """A stretch of a file, read as a file of its own."""

    def __init__(self, handle: IO[bytes], start: int, length: int) -> None:
        super().__init__()
        self.handle, self.start, self.length, self.place = handle, start, length, 0

    def seekable(self) -> bool:
        """Yes."""
        return True

    def readable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """Bytes from the start of the stretch."""
        return self.place

    def seek(self, offset: int, whence: int = 0) -> int:
        """As of files."""
        place = offset + (0, self.place, self.length)[whence]
        if place < 0:
            raise ValueError("before the start")
        self.place = place
        return place

    def readinto(self, buffer: Any) -> int:
        """As of files."""
        self.handle.seek(self.start + self.place)
        data = self.handle.read(max(0, min(len(buffer), self.length - self.place)))
        buffer[: len(data)] = data
        self.place += len(data)
        return len(data)


class _Anything:
    """Stands for every class that a pickle names: nothing of it is run, its attributes are looked at."""

    def __init__(self, *_: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


class _Index(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> type:
        return _Anything


def _pieces(index: Path) -> dict[str, list[tuple[int, int]]]:
    """File -> (offset, length) in bytes of each piece in it, from a distributed checkpoint's ``.metadata``."""
    with index.open("rb") as handle:
        stored = _Index(handle).load().storage_data
    found: dict[str, list[tuple[int, int]]] = {}
    for piece in stored.values():
        found.setdefault(str(piece.relative_path), []).append((int(piece.offset), int(piece.length)))
    return found
