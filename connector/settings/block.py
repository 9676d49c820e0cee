"""What every part of winback.yaml has in common: closed, frozen tables, and names."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

NAME_PATTERN = r"^[a-z][a-z0-9_]{0,49}$"
NAME_RULE = "small letters, digits and _, beginning with a letter, at most 50"

PROGRAM_NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,49}$"
PROGRAM_NAME_RULE = "small letters, digits, _ and -, beginning with a letter, at most 50"

NAME_RULES = {NAME_PATTERN: NAME_RULE, PROGRAM_NAME_PATTERN: PROGRAM_NAME_RULE}
"""What a pattern means in words."""


class Block(BaseModel):
    """Any part of the file: unknown keys are errors, nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema, with defaults as a person writes them: `36h`, not `P1DT12H`."""
        schema = handler(core_schema)
        written = cls.model_construct().model_dump(mode="json")
        for name, part in handler.resolve_ref_schema(schema).get("properties", {}).items():
            if "default" in part:
                part["default"] = written[name]
        return schema


Name = Annotated[str, Field(pattern=NAME_PATTERN)]
ProgramName = Annotated[str, Field(pattern=PROGRAM_NAME_PATTERN)]
