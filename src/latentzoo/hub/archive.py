"""Zip archives, with suspicion: what the directory declares is checked before a byte is unpacked."""

import shutil
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from latentzoo.errors import CheckpointError
from latentzoo.files import write_atomic

DIRECTORY = 2**24  # ten thousand storages have a directory of one or two million bytes
RATIO, SMALL = 100, 2**20  # weights hardly compress; deflate itself stops at about 1000


def open_zip(path: Path) -> ZipFile:
    """Opens an archive whose directory is of a sensible size.

    Raises:
        CheckpointError: If it is not.
        BadZipFile: If it is damaged.
    """
    if directory_size(path) > DIRECTORY:
        raise distrust(path, f"has a directory of more than {DIRECTORY} bytes")
    return ZipFile(path)


def members(file: ZipFile) -> dict[str, ZipInfo]:
    """The files of an archive by name.

    Raises:
        CheckpointError: If a name occurs twice or leads out of the archive, or a size cannot be meant.
    """
    found: dict[str, ZipInfo] = {}
    packed, path = 0, Path(str(file.filename))
    for info in file.infolist():
        name = info.filename
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or ":" in name[:3] or "\0" in name:
            raise distrust(path, f"has the member {name[:120]!r}, which leads out of it")
        if name in found:
            raise distrust(path, f"has the member {name[:120]!r} twice")
        if info.flag_bits & 1:
            raise distrust(path, f"has the member {name[:120]!r} encrypted")
        if info.file_size > max(SMALL, RATIO * info.compress_size):
            sizes = f"{info.compress_size} bytes to {info.file_size}"
            raise distrust(path, f"unpacks {name[:120]!r} from {sizes}, as weights never do")
        packed += info.compress_size
        found[name] = info
    if packed > path.stat().st_size:
        raise distrust(path, f"has members of {packed} bytes, more than itself: they overlap")
    return found


def distrust(path: Path, fact: str) -> CheckpointError:
    """The error for an archive that was made to harm, or has been damaged beyond use."""
    return CheckpointError(f"{path}: this archive {fact}; do not trust it")


def stored(info: ZipInfo, buffer: memoryview, *, summed: bool = True) -> memoryview:
    """The bytes of a member that is not compressed, as a view of the archive, its checksum verified.

    Arguments:
        info: The member.
        buffer: The archive.
        summed: Whether the archive has checksums; see `summed`.

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
    if len(data) != info.file_size or (summed and zlib.crc32(data) != info.CRC):
        raise ValueError(f"its member {name!r} is damaged (checksum)")
    return data


def summed(found: Iterable[ZipInfo]) -> bool:
    """Whether an archive has checksums: all are zero after `torch.serialization.set_crc32_options(False)`."""
    return any(info.CRC for info in found)


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

            def extract(part: Path) -> None:
                # zipfile stops at the declared size, and checks the sum
                with file.open(names[0]) as packed, part.open("wb") as plain:
                    shutil.copyfileobj(packed, plain, 2**20)

            write_atomic(place, extract)
            return place
    except (BadZipFile, zlib.error, NotImplementedError, EOFError) as error:
        raise CheckpointError(
            f"{path}: a damaged archive ({error}); delete it and load again"
        ) from error
