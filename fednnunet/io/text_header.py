"""Text headers of MetaImage and NRRD files, checked before ITK acts on them.

ITK allocates what a header promises, follows its file names anywhere, and ends the process for
some values. So sizes are held against the file's own, names against the header's folder, and every
number that is used must be one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from fednnunet.errors import DataError
from fednnunet.io.formats import check_promise, unreadable
from fednnunet.text import printable

_LONGEST = 1 << 18  # bytes of a header
_MAX_COMPRESSED = 1 << 20  # times that bzip2 can shrink; gzip a thousandth of it
_MAX_GZIP = 1100
_META_BYTES = {
    "CHAR": 1,
    "UCHAR": 1,
    "SHORT": 2,
    "USHORT": 2,
    "INT": 4,
    "UINT": 4,
    "LONG": 8,
    "ULONG": 8,
    "LONG_LONG": 8,
    "ULONG_LONG": 8,
    "FLOAT": 4,
    "DOUBLE": 8,
}
_NRRD_BYTES = {
    1: "signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t",
    2: "short,short int,signed short,signed short int,int16,int16_t,ushort,unsigned short,"
    "unsigned short int,uint16,uint16_t",
    4: "int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float",
    8: "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t,"
    "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t,double",
}
_NRRD_TYPES = {name: size for size, names in _NRRD_BYTES.items() for name in names.split(",")}
_NRRD_NAMES = {"datafile": "data file", "lineskip": "line skip", "byteskip": "byte skip"}
_NRRD_ONE_LINE = re.compile(r"([a-z ]+): *(.*)")
_VECTORS = re.compile(r"\s*(none|\([^()]*\))")


def check_text_header(path: Path) -> None:
    """Check the header of a `.mha`, `.mhd` or `.nrrd` file; raises DataError."""
    with path.open("rb") as stream:
        start = stream.read(_LONGEST)
    if path.name.lower().endswith(".nrrd"):
        _check_nrrd(path, start)
    else:
        _check_meta(path, start)


def _check_meta(path: Path, start: bytes) -> None:
    fields, end = _meta_fields(path, start)
    axes = _whole(path, fields, "NDims", low=2, high=4)
    sizes = [_integer(path, "DimSize", v) for v in fields.get("DimSize", "").split()]
    kind = fields.get("ElementType", "").removeprefix("MET_").removesuffix("_ARRAY")
    channels = _whole(path, fields, "ElementNumberOfChannels", low=1, high=1024, usual=1)
    if len(sizes) != axes or min(sizes) < 1:
        raise _bad(path, f"the size {fields.get('DimSize', '')!r} of {axes} axes")
    if kind not in _META_BYTES:
        raise _bad(path, f"voxels of the type {fields.get('ElementType', '')!r}")
    if fields.get("ObjectType", "Image") != "Image":
        raise _bad(path, f"an object of type {fields['ObjectType']!r}")
    for names, count in (
        (("ElementSpacing", "ElementSize", "Offset", "Position", "Origin"), axes),
        (("CenterOfRotation",), axes),
        (("TransformMatrix", "Rotation", "Orientation"), axes * axes),
    ):
        for name in names:
            _check_numbers(path, fields, name, count)
    for name in ("BinaryData", "BinaryDataByteOrderMSB", "ElementByteOrderMSB", "CompressedData"):
        if fields.get(name, "True").lower() not in ("true", "false", "0", "1", "t", "f"):
            raise _bad(path, f"{name} = {fields[name]!r}")
    skipped = _whole(path, fields, "HeaderSize", low=-1, high=1 << 40, usual=0)
    data, size = _meta_data(path, fields["ElementDataFile"], end)
    packed = fields.get("CompressedData", "False")[:1].lower() in ("t", "1")
    _whole(path, fields, "CompressedDataSize", low=0, high=max(size, 0), usual=0)
    binary = fields.get("BinaryData", "True")[:1].lower() in ("t", "1")
    itemsize = _META_BYTES[kind] * channels
    promised = check_promise(path, voxels=math.prod(sizes), itemsize=itemsize)
    if not binary:
        promised = math.prod(sizes) * channels  # a digit each
    room = size if skipped < 0 else size - skipped
    _check_length(path, data, promised, room * _MAX_GZIP if packed else room)


def _meta_fields(path: Path, start: bytes) -> tuple[Mapping[str, str], int]:
    """Fields of a MetaImage header, and the byte at which it ends."""
    fields: dict[str, str] = {}
    place = 0
    while "ElementDataFile" not in fields:
        end = start.find(b"\n", place)
        line = start[place : end if end >= 0 else None]
        name, sign, value = line.partition(b"=")
        if not sign or (end < 0 and not value.strip()):
            raise unreadable(path, "its header has no end")
        key = _text(path, name).strip()
        if key in fields:
            raise _bad(path, f"{key!r} twice")
        fields[key] = _text(path, value).strip()
        place = end + 1 if end >= 0 else len(start)
    return fields, place


def _meta_data(path: Path, named: str, end: int) -> tuple[Path, int]:
    """The file that holds the voxels, and how many bytes of it are theirs."""
    if named.upper() == "LOCAL":
        return path, path.stat().st_size - end
    if named.split()[:1] == ["LIST"] or "%" in named:
        raise _bad(path, f"voxels in several files ({named!r})", mend="write them into one file")
    data = _beside(path, named)
    return data, data.stat().st_size


def _check_nrrd(path: Path, start: bytes) -> None:
    fields, end = _nrrd_fields(path, start)
    axes = _whole(path, fields, "dimension", low=2, high=4)
    sizes = [_integer(path, "sizes", v) for v in fields.get("sizes", "").split()]
    itemsize = _NRRD_TYPES.get(fields.get("type", "").lower())
    encoding = fields.get("encoding", "").lower()
    if len(sizes) != axes or min(sizes) < 1:
        raise _bad(path, f"the size {fields.get('sizes', '')!r} of {axes} axes")
    if itemsize is None:
        raise _bad(path, f"voxels of the type {fields.get('type', '')!r}")
    _check_nrrd_numbers(path, fields, axes)
    data, size = path, path.stat().st_size - end
    if named := fields.get("data file"):
        if named.split()[:1] == ["LIST"] or "%" in named or named == "-":
            raise _bad(path, f"voxels in several files ({named!r})", mend="write them into one")
        data = _beside(path, named)
        size = data.stat().st_size
    most = {"raw": 1, "gzip": _MAX_GZIP, "gz": _MAX_GZIP, "hex": 1}
    most |= dict.fromkeys(("bzip2", "bz2"), _MAX_COMPRESSED)
    most |= dict.fromkeys(("ascii", "text", "txt"), 1)
    if encoding not in most:
        raise _bad(path, f"the encoding {encoding!r}")
    lowest = -1 if encoding == "raw" else 0
    _whole(path, fields, "line skip", low=0, high=size, usual=0)
    skipped = max(_whole(path, fields, "byte skip", low=lowest, high=size, usual=0), 0)
    promised = check_promise(path, voxels=math.prod(sizes), itemsize=itemsize)
    if encoding in ("ascii", "text", "txt"):
        promised = math.prod(sizes)
    _check_length(path, data, promised, (size - skipped) * most[encoding])


def _nrrd_fields(path: Path, start: bytes) -> tuple[Mapping[str, str], int]:
    """Fields of a NRRD header by their usual names, and the byte at which it ends."""
    place = start.find(b"\n") + 1
    if not re.fullmatch(rb"NRRD000[1-5]\r?", start[: max(place - 1, 0)]):
        raise unreadable(path, "it does not begin as NRRD files do")
    fields: dict[str, str] = {}
    while place < len(start):
        end = start.find(b"\n", place)
        end = end if end >= 0 else len(start)
        line = _text(path, start[place:end].removesuffix(b"\r"))
        place = end + 1
        if not line:
            return fields, min(place, len(start))
        if line.startswith("#") or ":=" in line:
            continue
        match = _NRRD_ONE_LINE.fullmatch(line)
        if match is None:
            raise _bad(path, f"the line {line[:60]!r}")
        name = _NRRD_NAMES.get(match[1], match[1])
        if name in fields:
            raise _bad(path, f"{name!r} twice")
        fields[name] = match[2].strip()
    if "data file" not in fields:
        raise unreadable(path, "its header has no end")
    return fields, len(start)


def _check_nrrd_numbers(path: Path, fields: Mapping[str, str], axes: int) -> None:
    """Numbers of an NRRD header that say where its axes lie."""
    for name in ("spacings", "axis mins", "axismins", "axis maxs", "axismaxs", "thicknesses"):
        _check_numbers(path, fields, name, axes, nan=True)
    for name, count in (("space directions", axes), ("space origin", 1)):
        value = fields.get(name)
        if value is None:
            continue
        vectors = _VECTORS.findall(value)
        if len(vectors) != count or _VECTORS.sub("", value).strip():
            raise _bad(path, f"{name}: {value!r}")
        for vector in vectors:
            if vector != "none":
                parts = [_number(path, name, v) for v in vector.strip("()").split(",")]
                if name == "space directions" and not any(parts):
                    raise _bad(path, f"{name}: {value!r}")


def _beside(path: Path, named: str) -> Path:
    """The file of detached voxels, which must lie in the header's folder or below it."""
    outside = DataError(
        f"{path.name} points outside of its folder for its voxels: {printable(named)[:80]!r}",
        where=str(path),
        mend="put the voxels in the header's folder, and name that file in the header",
    )
    windows = PureWindowsPath(named)
    if "\0" in named or windows.is_absolute() or windows.drive or "\\" in named:
        raise outside
    if PurePosixPath(named).is_absolute() or ".." in PurePosixPath(named).parts:
        raise outside
    data = path.parent / named
    if not data.is_file():
        raise unreadable(path, f"the file of its voxels, {named[:80]!r}, is missing")
    if path.resolve().parent not in data.resolve().parents:
        raise outside
    return data


def _check_length(path: Path, data: Path, promised: int, room: int) -> None:
    if promised > room:
        raise unreadable(
            path, f"{data.name} is too short for the {promised:,} bytes that its header promises"
        )


def _check_numbers(
    path: Path, fields: Mapping[str, str], name: str, count: int, *, nan: bool = False
) -> None:
    """Check a field of `count` numbers, if the header has it."""
    if name not in fields:
        return
    values = fields[name].split()
    if len(values) != count:
        raise _bad(path, f"{name} {fields[name]!r}, which is not {count} numbers")
    for value in values:
        if not (nan and value.lower() == "nan"):
            _number(path, name, value)


def _whole(
    path: Path, fields: Mapping[str, str], name: str, *, low: int, high: int, usual: int = -2
) -> int:
    """A field that is one whole number from `low` to `high`."""
    if name not in fields and usual != -2:
        return usual
    value = _integer(path, name, fields.get(name, ""))
    if not low <= value <= high:
        raise _bad(path, f"{name} {value}")
    return value


def _integer(path: Path, name: str, text: str) -> int:
    if not re.fullmatch(r"\s*[+-]?[0-9]{1,18}\s*", text, re.ASCII):
        raise _bad(path, f"{name} {text[:40]!r}, which is no whole number")
    return int(text)


def _number(path: Path, name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise _bad(path, f"{name} {text[:40]!r}, which is no number") from None
    if not math.isfinite(value):
        raise _bad(path, f"{name} {text[:40]!r}, which is not finite")
    return value


def _text(path: Path, line: bytes) -> str:
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise unreadable(path, "its header is not text") from None
    if "\0" in text:
        raise unreadable(path, "its header is not text")
    return text


def _bad(path: Path, states: str, *, mend: str = "") -> DataError:
    return DataError(
        f"{path.name} cannot be read: its header states {printable(states)}",
        where=f"{path}, {path.stat().st_size} bytes",
        mend=mend or "correct the header, or convert the image again from its source",
    )
