"""Zip archives, with suspicion: what the directory declares is checked before a byte is unpacked."""

import os
import shutil
import struct
import zlib
from pathlib import Path, PurePosixPath
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from latentzoo.errors import CheckpointError

DIRECTORY = 2**24  # ten thousand storages have a directory of one or two million bytes
RATIO, SMALL = 100, 2**20  # weights hardly compress; deflate itself stops at about 1000


def open_zip(path: Path) -> ZipFile:
    """Opens an archive whose directory is of a sensible size.

    Raises:
        CheckpointError: If it is not.
        BadZipFile: If it is damaged.
    """
    if directory_size(path) > DIRECTORY:
        raise CheckpointError(
            f"{path}: its directory has more than {DIRECTORY} bytes; do not trust this file"
        )
    return ZipFile(path)


def members(file: ZipFile) -> dict[str, ZipInfo]:
    """The files of an archive by name.

    Raises:
        CheckpointError: If a name occurs twice or leads out of the archive, or a size cannot be meant.
    """
    found: dict[str, ZipInfo] = {}
    packed = 0
    for info in file.infolist():
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or ":" in name[:3] or "\0" in name:
            raise CheckpointError(
                f"the archive's member {name[:120]!r} leads out of it; do not trust this file"
            )
        if name in found:
            raise CheckpointError(f"the archive has {name[:120]!r} twice; do not trust this file")
        if info.flag_bits & 1:
            raise CheckpointError(
                f"the archive's member {name[:120]!r} is encrypted; unpack it by hand"
            )
        if info.file_size > max(SMALL, RATIO * info.compress_size):
            raise CheckpointError(
                f"the archive's member {name[:120]!r} unpacks {info.compress_size} bytes to {info.file_size}; "
                "weights do not compress like that, do not trust this file"
            )
        packed += info.compress_size
        found[name] = info
    size = Path(str(file.filename)).stat().st_size
    if packed > size:
        raise CheckpointError(
            f"the archive's members have {packed} bytes and the file {size}; they overlap, do not trust this file"
        )
    return found


def stored(info: ZipInfo, buffer: memoryview) -> memoryview:
    """The bytes of a member that is not compressed, as a view of the archive, its checksum verified.

    Raises:
        ValueError: If it is compressed, not where the directory says, or damaged.
    """
    name = info.filename[:120]
    if info.compress_type != ZIP_STORED or info.compress_size != info.file_size:
        raise ValueError(f"its member {name!r} is compressed, which torch does not do")
    header = info.header_offset
    if header < 0 or bytes(buffer[header : header + 4]) != b"PK\3\4":
        raise ValueError(f"its member {name!r} is not where the directory says")
    sizes = bytes(buffer[header + 26 : header + 30])
    start = header + 30 + int.from_bytes(sizes[:2], "little") + int.from_bytes(sizes[2:], "little")
    data = buffer[start : start + info.file_size]
    if len(data) != info.file_size or zlib.crc32(data) != info.CRC:
        raise ValueError(f"its member {name!r} is damaged (checksum)")
    return data


def directory_size(path: Path) -> int:
    """How many bytes the archive's directory has, as its end declares."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2**17))
        tail = file.read()
    end, end64 = tail.rfind(b"PK\5\6"), tail.rfind(b"PK\6\6")
    size = struct.unpack_from("<I", tail, end + 12)[0] if 0 <= end <= len(tail) - 22 else 0
    return struct.unpack_from("<Q", tail, end64 + 40)[0] if 0 <= end64 <= len(tail) - 56 else size


def unpack(path: Path, member: str) -> Path:
    """Unpacks one member of an archive beside it, once.

    Arguments:
        path: The archive.
        member: The member's name, or the end of it.

    Raises:
        CheckpointError: If there is no such member, or it cannot be trusted.
    """
    try:
        with open_zip(path) as file:
            found = members(file)
            names = [n for n in found if n == member] or [
                n for n in found if n.endswith(f"/{member}")
            ]
            if len(names) != 1:
                some = ", ".join(list(found)[:8])
                raise CheckpointError(f"{path}: has no single member '{member}' (it has {some})")
            place = (
                path.with_name(f"{path.name}.d")
                / f"{zlib.crc32(names[0].encode()):08x}-{PurePosixPath(member).name}"
            )
            if place.is_file() and place.stat().st_mtime >= path.stat().st_mtime:
                return place
            place.parent.mkdir(exist_ok=True)
            part = place.with_name(f"{place.name}.{os.getpid()}.part")
            try:
                with file.open(names[0]) as packed, part.open("wb") as plain:
                    shutil.copyfileobj(
                        packed, plain, 2**20
                    )  # zipfile stops at the declared size, checks the sum
                os.replace(part, place)
            finally:
                part.unlink(missing_ok=True)
            return place
    except (BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise CheckpointError(
            f"{path}: a damaged archive ({error}); delete it and load again"
        ) from error
