"""What is too large for its row goes into rows of its own, written before the row that refers to them.

The sort keys of these rows name that row, the attribute, and the write that made them: no two writes share any, and
nobody reads one that no row refers to. What a refused write leaves of them is erased with its session.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from hector.stores.dynamodb.rows import Key, Row

MOST_BYTES = {"prompt": 190_000, "answer": 190_000, "events": 350_000, "summary": 350_000}
"""Of an attribute within its row, so that prompt and answer fit into one: an item has at most 400 KB (409,600 bytes).

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
"""

PART_BYTES = 350_000


def moved_out(key: Key, values: Row, by: str, ttl: int) -> tuple[Row, list[Row]]:
    """The values of the row with this key, and the rows that hold what is too large for it; `by` names the write."""
    kept, rows = dict(values), []
    pk, sk = key
    for name, most in MOST_BYTES.items():
        text = values.get(name)
        # A character has at most 4 bytes: most texts need not be encoded to be measured.
        if text is None or len(text) * 4 <= most or len(text.encode()) <= most:
            continue
        place = f"part#{sk}#{name}#{by}"
        parts = _cut(text)
        del kept[name]
        kept[f"{name}_at"] = f"{len(parts)} {place}"
        rows += [{"pk": pk, "sk": _part(place, number), "part": part, "ttl": ttl} for number, part in enumerate(parts)]
    return kept, rows


def fitting(row: Row, by: str) -> list[Row]:
    """The row as it fits into an item, and those that hold the rest."""
    kept, parts = moved_out((row["pk"], row["sk"]), row, by, row["ttl"])
    return [kept, *parts]


def keys_of(row: Row) -> list[Key]:
    """Of the rows that hold what is not in this one."""
    return [(row["pk"], sk) for name in MOST_BYTES for sk in _parts(row, name)]


def joined(row: Row, found: Mapping[Key, Row]) -> Row:
    """The row with all that belongs to it. Raises KeyError if some of it is gone."""
    texts = {name: "".join(found[row["pk"], sk]["part"] for sk in _parts(row, name)) for name in MOST_BYTES}
    return row | {name: text for name, text in texts.items() if text}


def _parts(row: Row, name: str) -> Iterable[str]:
    if f"{name}_at" not in row:
        return ()
    count, _, place = row[f"{name}_at"].partition(" ")
    return [_part(place, number) for number in range(int(count))]


def _part(place: str, number: int) -> str:
    return f"{place}#{number:03d}"


def _cut(text: str) -> list[str]:
    """Between characters, never within one."""
    data, parts, start = text.encode(), [], 0
    while start < len(data):
        end = min(start + PART_BYTES, len(data))
        while end < len(data) and data[end] & 0xC0 == 0x80:
            end -= 1
        parts.append(data[start:end].decode())
        start = end
    return parts
