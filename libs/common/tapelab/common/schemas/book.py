"""``md.book.v1``: order-book levels of one symbol as little-endian columns."""

from __future__ import annotations

import msgspec


class BookBatch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """n consecutive level changes of one symbol.

    Each row sets the quantity at one price of one side (``side`` i8: +1 bid, -1 ask; ``volume`` 0
    removes the level); rows of a ``snapshot`` replace the whole book. ``first_seq`` counts rows, so a
    tick batch's ``book_seq`` names the last row that was published before it.
    """

    symbol: str
    exchange: str
    stream: int
    lineage: str
    first_seq: int
    n: int
    snapshot: bool
    depth: int
    ts_event_ns: bytes
    side: bytes
    price: bytes
    volume: bytes
