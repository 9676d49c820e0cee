"""The keys of a `files` source in winback.yaml."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from connector.contracts import AdapterOptions
from connector.model import NEUTRAL_TABLES

Format = Literal["auto", "csv", "jsonl", "parquet"]


class FilesStream(BaseModel):
    """One kind of record and the files that hold it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: str = Field(min_length=1, description="a file, a glob (`data/events-*.parquet`, `**` too) or an s3-style URL")
    mapping: Mapping[str, str] = Field(
        default_factory=dict, description="neutral column: the files' column; `attributes.x` allowed"
    )
    into: str | None = Field(default=None, description="the neutral table, when the stream's name is not one")
    format: Format = Field(default="auto", description="auto goes by the name's ending")
    delimiter: str | None = Field(default=None, min_length=1, max_length=1, description="of CSV; found if absent")
    encoding: str = Field(default="utf-8", description="of text files; a byte-order mark wins")
    complete: bool = Field(
        default=False, description="contacts only: the files list everybody, so who is missing was deleted"
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            return codecs.lookup(value).name
        except LookupError:
            raise ValueError(f"no encoding {value!r}; utf-8, utf-16, cp1252 and latin-1 are common") from None

    @field_validator("delimiter")
    @classmethod
    def _usable_delimiter(cls, value: str | None) -> str | None:
        if value is not None and (not value.isascii() or value in '"\r\n'):
            raise ValueError(f"{value!r} cannot separate columns; use , ; | or a tab")
        return value


class FilesOptions(AdapterOptions):
    """A `files` source: its streams by name. `auth` and `base_url` are for s3-style storage."""

    streams: Mapping[str, FilesStream] = Field(
        min_length=1, description="usage, contacts, accounts, engagements, transactions: where each comes from"
    )

    @model_validator(mode="after")
    def _streams_fill_tables(self) -> FilesOptions:
        for name, stream in self.streams.items():
            into = stream.into or name
            if into not in NEUTRAL_TABLES:
                known = ", ".join(NEUTRAL_TABLES)
                raise ValueError(f"streams.{name}: no table {into!r}; name the stream, or its `into`, one of: {known}")
            if stream.complete and into != "contacts":
                raise ValueError(f"streams.{name}: `complete` is for contacts only")
        return self

    def mapping_for(self, stream: str) -> Mapping[str, str]:
        """The mapping written under the stream, then what `mapping:` of the whole source adds."""
        own = self.streams[stream].mapping if stream in self.streams else {}
        return {**self.mapping.get(stream, {}), **own}

    def into(self, stream: str) -> str:
        """The neutral table this stream fills."""
        return self.streams[stream].into or stream
