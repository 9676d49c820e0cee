"""The usage log as columns, and the files a product team would drop somewhere: what people did, what they paid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from connector.demo.population import EVENTS_PER_DAY_MOST
from connector.demo.product import FEATURE_NAMES, NOT_USAGE_INDEX

FileFormat = Literal["parquet", "csv"]

COLUMNS = ("event_id", "user_id", "user_email", "ts", "event", "n", "ingested_at")
"""The columns of the files, in the product's own words."""

MAPPING: dict[str, str] = {
    "contact_id": "user_id",
    "email": "user_email",
    "occurred_at": "ts",
    "feature": "event",
    "events": "n",
    "event_id": "event_id",
    "arrived_at": "ingested_at",
}
"""What the files adapter needs to read them: neutral column to column of the file."""

PAYMENT_COLUMNS = ("payment_id", "user_id", "user_email", "paid_at", "amount", "currency", "kind")
"""The columns of the payment files."""

PAYMENT_MAPPING: dict[str, str] = {
    "contact_id": "user_id",
    "at": "paid_at",
    "amount": "amount",
    "currency": "currency",
    "kind": "kind",
    "transaction_id": "payment_id",
}
"""The same for them."""

PAYMENTS_A_DAY = 3
PAID_EVENTS = 400
"""The first uses of a day, and every so many after them, are purchases: somebody buys every day."""


def midnight(day: date) -> int:
    """The first second of the day, in UTC seconds since 1970."""
    return round(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


@dataclass(frozen=True, slots=True)
class Events:
    """Usage events in order of arrival; a delivery that came twice is in it twice, under one number.

    user: Index into `user_ids` and `user_emails`.
    at, arrived: Seconds since 1970, UTC; nothing arrives before it happens.
    """

    number: NDArray[np.int64]
    user: NDArray[np.int32]
    at: NDArray[np.int64]
    feature: NDArray[np.int8]
    count: NDArray[np.int16]
    arrived: NDArray[np.int64]
    user_ids: pa.Array
    user_emails: pa.Array

    def __len__(self) -> int:
        """How many deliveries."""
        return len(self.number)

    def rows(self, begin: int, end: int) -> Events:
        """The deliveries from `begin` up to but not including `end`, without copying."""
        part = slice(begin, end)
        return Events(
            number=self.number[part],
            user=self.user[part],
            at=self.at[part],
            feature=self.feature[part],
            count=self.count[part],
            arrived=self.arrived[part],
            user_ids=self.user_ids,
            user_emails=self.user_emails,
        )

    def arrived_between(self, first: date, last: date) -> Events:
        """What arrived from the start of `first` to the end of `last`, UTC days."""
        begin, end = np.searchsorted(self.arrived, [midnight(first), midnight(last + timedelta(days=1))])
        return self.rows(int(begin), int(end))

    def table(self) -> pa.Table:
        """The deliveries as an Arrow table with the columns of the files."""
        numbers = pc.cast(pa.array(self.number), pa.string())
        utc = pa.timestamp("s", tz="UTC")
        return pa.table(
            {
                "event_id": pc.binary_join_element_wise(pa.scalar("evt"), numbers, "-"),
                "user_id": self.user_ids.take(pa.array(self.user)),
                "user_email": self.user_emails.take(pa.array(self.user)),
                "ts": pa.array(self.at).cast(utc),
                "event": pa.array(FEATURE_NAMES).take(pa.array(self.feature)),
                "n": pa.array(self.count.astype(np.int32)),
                "ingested_at": pa.array(self.arrived).cast(utc),
            }
        )

    def payments(self) -> pa.Table:
        """What was bought meanwhile, as an Arrow table with the columns of the payment files."""
        place = self.number % EVENTS_PER_DAY_MOST
        bought = ((place < PAYMENTS_A_DAY) | (place % PAID_EVENTS == 0)) & (self.feature != NOT_USAGE_INDEX)
        at = np.flatnonzero(bought)
        at = at[np.unique(self.number[at], return_index=True)[1]]
        user = pa.array(self.user[at])
        numbers = self.number[at]
        return payment_table(
            ids=[f"pay-{number}" for number in numbers.tolist()],
            user_ids=self.user_ids.take(user),
            emails=self.user_emails.take(user),
            at=self.at[at],
            amounts=[float(19 + 10 * (number // 7 % 8)) for number in numbers.tolist()],
            kind="order",
        )

    def months(self) -> Iterator[tuple[str, Events]]:
        """The deliveries month of arrival by month of arrival: (`2026-10`, events)."""
        month = (self.arrived.astype("datetime64[s]").astype("datetime64[M]")).astype(np.int64)
        starts = np.flatnonzero(np.diff(month, prepend=np.int64(-1)))
        for begin, end in zip(starts.tolist(), [*starts[1:].tolist(), len(self)], strict=True):
            yield str(np.datetime64(int(month[begin]), "M")), self.rows(begin, end)

    def write(self, path: Path) -> Path:
        """Write all of it to one file, `.parquet` or `.csv` by its name; the file appears whole or not at all."""
        return write_table(self.table(), path)


def payment_table(
    *,
    ids: Sequence[str],
    user_ids: pa.Array,
    emails: pa.Array,
    at: NDArray[np.int64],
    amounts: Sequence[float],
    kind: str,
) -> pa.Table:
    """Payments in euro with the columns of the payment files; times are seconds since 1970."""
    columns = (
        pa.array(ids, pa.string()),
        user_ids,
        emails,
        pa.array(at, pa.int64()).cast(pa.timestamp("s", tz="UTC")),
        pa.array(amounts, pa.float64()),
        pa.array(["EUR"] * len(ids), pa.string()),
        pa.array([kind] * len(ids), pa.string()),
    )
    return pa.table(dict(zip(PAYMENT_COLUMNS, columns, strict=True)))


def write_table(table: pa.Table, path: Path) -> Path:
    """Write a table to one file, `.parquet` or `.csv` by its name; the file appears whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    if path.suffix == ".csv":
        _write_csv(table, part)
    else:
        import pyarrow.parquet as pq

        pq.write_table(table, part, compression="zstd")
    return part.replace(path)


def _write_csv(table: pa.Table, path: Path) -> None:
    """CSV with ISO times ending in Z, which every tool reads the same way."""
    from pyarrow import csv

    for name in [field.name for field in table.schema if pa.types.is_timestamp(field.type)]:
        iso = pc.strftime(table[name], format="%Y-%m-%dT%H:%M:%SZ")
        table = table.set_column(table.schema.get_field_index(name), name, iso)
    csv.write_csv(table, path)


def gather(parts: Sequence[Events]) -> Events:
    """Several stretches as one, in order of arrival, then of number."""
    first = parts[0]
    arrived = np.concatenate([p.arrived for p in parts])
    number = np.concatenate([p.number for p in parts])
    order = np.lexsort((number, arrived))
    return Events(
        number=number[order],
        user=np.concatenate([p.user for p in parts])[order],
        at=np.concatenate([p.at for p in parts])[order],
        feature=np.concatenate([p.feature for p in parts])[order],
        count=np.concatenate([p.count for p in parts])[order],
        arrived=arrived[order],
        user_ids=first.user_ids,
        user_emails=first.user_emails,
    )
