"""Damage: of bytes, of text, of trees of JSON-like values, of archives of arrays, drawn from one `random.Random`."""

from __future__ import annotations

import copy
import io
import json
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, TypeAlias

import numpy as np

Path: TypeAlias = tuple[Any, ...]

# fmt: off
TEXTS = (
    "", " ", "..", "../../x", "a/b", "a\\b", "/", "~", "-", "--", "x" * 300, "x" * 5000, "\0", "\n", "a\r\nb",
    "\x1b[31m", "[bold]", "[/v2]", "[link=x]", "{x}", "%s%n", "$a^$", "<b>", "</script>", "=1+1", "@SUM(A1)", "|",
    "`", "**", "null", "true", "no", "on", "nan", "inf", "1e999", "08", "0x1f", "1_000", "1:30", "2020-13-45",
    "2020-01-01", "ä", "e\u0301", "\u202e", "\ufeff", "\u0000", "\ud800", "😀", "٣", "CON", "nul.txt", ".",
    ".hidden", "all", "none", "a,b", "a=b", "'", '"', "#", "&x", "*x", "!x", "!!python/object:os.system", ",,,",
    "[", "{", "(" * 200,
)
NUMBERS = (
    0, -1, 1, 2, 3, 255, 256, 65536, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63 - 1, 2**63, 2**64, 10**9, 10**12,
    10**30, 10**400, -(2**63), 0.0, -0.0, 0.5, 1.0, 1.5, 1e-300, 5e-324, 1e308, -1e308, float("nan"), float("inf"),
    -float("inf"),
)
# fmt: on


def hostile(rng: random.Random) -> Any:
    """A value that seldom fits."""
    kind = rng.randrange(9)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 6:
        return rng.choice(NUMBERS)
    if kind == 6:
        return rng.choice(
            (None, True, False, [], {}, [[]], [None], [{}], {"a": {}}, date(2020, 1, 1), b"\0\xff", {"x"})
        )
    if kind == 7:
        return deep(rng.choice((3, 40, 600, 3000)), rng.random() < 0.5)
    return [rng.choice(NUMBERS) for _ in range(rng.choice((1, 2, 3, 2000)))]


def deep(levels: int, table: bool) -> Any:
    """Lists in lists, or tables in tables."""
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if table else [value]
    return value


def places(tree: Any, where: Path = ()) -> list[Path]:
    """The path of every value in a tree of lists and tables, the tree itself first, a dozen levels down."""
    found: list[Path] = [where]
    items: Any = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    if len(where) < 12:
        for key, value in items:
            found += places(value, (*where, key))
    return found


def mutated_tree(tree: Any, rng: random.Random, most: int = 3) -> Any:
    """A copy with one to `most` changes: values replaced, removed, doubled, wrapped, exchanged; keys renamed, added."""
    tree = copy.deepcopy(tree)
    for _ in range(rng.randint(1, most)):
        where = rng.choice(places(tree))
        if not where:
            if rng.random() < 0.2:
                return hostile(rng)
            continue
        *parents, key = where
        parent: Any = tree
        for step in parents:
            parent = parent[step]
        _change(tree, parent, key, rng)
    return tree


def _change(tree: Any, parent: Any, key: Any, rng: random.Random) -> None:
    value = parent[key]
    kind = rng.randrange(10)
    if kind < 4:
        parent[key] = hostile(rng)
    elif kind == 4:
        del parent[key]
    elif kind == 5:
        parent[key] = rng.choice(([value], {"a": value}, "a: b", [value, value]))
    elif kind == 6 and isinstance(value, int | float) and not isinstance(value, bool):
        as_float = float(value) if abs(value) < 2**1000 else "1e400"
        parent[key] = rng.choice((-value, value + 1, value * 10**9, as_float, str(value), [value] * 50))
    elif kind == 7 and isinstance(parent, dict):
        parent[rng.choice((*TEXTS, 1, 0.5, None, True))] = parent.pop(key)
    elif kind == 8 and isinstance(parent, dict):
        parent[rng.choice((*TEXTS, 1, None))] = hostile(rng)
    elif kind == 8:
        parent.insert(rng.randint(0, len(parent)), hostile(rng))
    else:
        found: Any = tree
        for step in rng.choice([other for other in places(tree) if other]):
            found = found[step]
        parent[key] = found if not isinstance(found, list | dict) else json_copy(found)


def json_copy(tree: Any) -> Any:
    """A copy of a tree that is not too deep for one; else the number 1."""
    try:
        return copy.deepcopy(tree)
    except RecursionError:
        return 1


def mutated_bytes(content: bytes, rng: random.Random, most: int = 6) -> bytes:
    """Flipped, removed, doubled, inserted and exchanged bytes, and ends that are cut off."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, most)):
        at = rng.randrange(len(changed)) if changed else 0
        length = rng.choice((1, 1, 2, 4, 16, 200))
        kind = rng.randrange(8)
        if kind < 3 and changed:
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            changed[at : at + length] = bytes(rng.choice((0, 255, 128, 10, 34)) for _ in range(length))
        elif kind == 6:
            changed[at:at] = rng.choice(TEXTS).encode("utf-8", "surrogatepass")
        elif rng.random() < 0.3:
            del changed[at:]
    return bytes(changed)


def yaml_text(value: Any, rng: random.Random) -> bytes:
    """A tree as YAML, mostly in flow style; what YAML cannot say is said as JSON or as text."""
    import yaml

    try:
        text = yaml.dump(value, allow_unicode=True, default_flow_style=rng.choice((None, False, True)), width=10**6)
    except (RecursionError, ValueError, yaml.YAMLError):
        text = flow(value)
    return text.encode("utf-8", "surrogatepass")


def flow(value: Any) -> str:
    """JSON without recursion for trees of one branch, which are YAML too."""
    opened, closed = [], []
    while isinstance(value, list | dict) and len(value) == 1:
        if isinstance(value, list):
            opened.append("[")
            closed.append("]")
            value = value[0]
        else:
            ((key, value),) = value.items()
            opened.append("{" + json.dumps(str(key)) + ": ")
            closed.append("}")
    try:
        middle = json.dumps(value, default=str)
    except (RecursionError, TypeError, ValueError):
        middle = "[" * 3000 + "]" * 3000
    return "".join((*opened, middle, *reversed(closed)))


def aliases(rng: random.Random) -> str:
    """A YAML table whose aliases stand for many values."""
    wide, levels = rng.choice(((9, 9), (2, 40), (50, 5), (3, 4)))
    lines = [f"l0: &l0 [{', '.join('x' * wide)}]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * wide)}]" for n in range(1, levels)]
    return rng.choice(("\n".join(lines), "a: &a [*a]", "&a {a: *a}", f"- &x {lines[0]}\n- *x"))


Arrays: TypeAlias = Mapping[str, Any]


def mutated_arrays(arrays: Arrays, rng: random.Random) -> dict[str, Any]:
    """Arrays of other types, shapes, values and names."""
    changed = {name: np.array(array) for name, array in arrays.items()}
    for _ in range(rng.randint(1, 3)):
        name = rng.choice(sorted(changed)) if changed else "x"
        array = changed.get(name, np.zeros(3))
        kind = rng.randrange(9)
        if kind == 0:
            changed.pop(name, None)
        elif kind == 1:
            changed[rng.choice(("x", "../x", "file", "units", "é", "a" * 300))] = array
        elif kind == 2:
            changed[name] = _cast(array, rng)
        elif kind == 3:
            changed[name] = array[: rng.choice((0, 1, 3))] if array.ndim else np.array(rng.choice(NUMBERS[:8]))
        elif kind == 4:
            changed[name] = rng.choice(
                (
                    array[None],
                    array[..., None],
                    array.ravel(),
                    array.ravel()[:1].reshape(()) if array.size else np.zeros(()),
                )
            )
        elif kind == 5 and array.size and array.dtype.kind in "fiu":
            flat = array.astype(np.float64).ravel()
            flat[rng.randrange(flat.size)] = rng.choice((np.nan, np.inf, -np.inf, -1, 2, 1e308, 1e18))
            changed[name] = flat.reshape(array.shape)
        elif kind == 6 and array.size and array.dtype.kind in "fiu":
            with np.errstate(all="ignore"):
                changed[name] = np.full_like(array, rng.choice((0, 1, 127)))
        elif kind == 7 and array.ndim:
            changed[name] = np.concatenate([array, array])
        elif kind == 8 and array.size and array.dtype.kind in "US":
            flat = array.astype("U400").ravel()
            flat[rng.randrange(flat.size)] = rng.choice(TEXTS).replace("\ud800", "?")
            changed[name] = flat.reshape(array.shape)
    return changed


def _cast(array: Any, rng: random.Random) -> Any:
    kind = rng.choice(("U7", "S7", "f2", "c16", "?", "M8[s]", "i1", "u8", ">i8", "f8", "O"))
    try:
        with np.errstate(all="ignore"):
            return array.astype(kind)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # the last: NumPy, of some numbers as dates
        return np.array([0, 1], dtype=[("a", "i4"), ("b", "U3")])


def npz(arrays: Arrays, rng: random.Random | None = None) -> bytes:
    """The arrays as .npz; with `rng`, headers that lie, members that are no arrays, and archives that are damaged."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (2020, 1, 1, 0, 0, 0)), npy(array, rng))
            if rng and rng.random() < 0.03:
                archive.writestr(rng.choice(("x", "x.npy", "../../x.npy", "/x.npy", f"{name}.txt")), b"no array")
    return stream.getvalue()


def npy(array: Any, rng: random.Random | None = None) -> bytes:
    """One array as .npy; with `rng` now and then a header that states something else."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asarray(array), allow_pickle=True)
    content = stream.getvalue()
    if rng is None or rng.random() > 0.06:
        return content
    shape = rng.choice(("(1000000000000,)", "(2147483647, 4)", "(-1,)", "()", "(0,)", "(1, 1e9)", "('a',)", "(" * 100))
    descr = rng.choice(("'<f8'", "'|O'", "'<U1000000000'", "'|V3'", "[('a', '<f8')]", "'x'", "None"))
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content[-80:]


def zeros_npz(name: str, count: int) -> bytes:
    """An .npz of one float64 array of `count` zeros, compressed a thousandfold without being in memory."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({count},), }}".encode()
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    stream, block = io.BytesIO(), bytes(1 << 22)
    with (
        zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open(f"{name}.npy", "w", force_zip64=True) as member,
    ):
        member.write(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)
        for _ in range(count * 8 // len(block)):
            member.write(block)
    return stream.getvalue()


def png_claiming(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG whose header states a size, whatever its pixels are."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = content or zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def choose(rng: random.Random, *weighted: tuple[float, Callable[[], bytes]]) -> bytes:
    """What one of the makers gives, each as often as its weight says."""
    makers: Sequence[Callable[[], bytes]] = [maker for _, maker in weighted]
    return rng.choices(makers, [weight for weight, _ in weighted])[0]()
