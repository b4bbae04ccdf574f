"""One way to declare a parameter of the simulator: value, range, unit, published source and a sentence."""

from typing import Any

from pydantic import Field


def quantity(default: float, ge: float, le: float, *, unit: str, source: str, says: str) -> Any:
    """Declare a field that explains itself and can be calibrated within its range.

    Args:
        default: Value of a typical 3 T examination.
        ge: Smallest value allowed.
        le: Largest value allowed.
        unit: Unit of the value; `"1"` for a pure number.
        source: Author and year of what the value and range rest on.
        says: What the parameter does, in one sentence.

    Returns:
        A pydantic field.

    Example:
        >>> quantity(2.0, 1.0, 3.0, unit="mm", source="Nobody 1900", says="A length.").json_schema_extra["unit"]
        'mm'
    """
    return Field(default, ge=ge, le=le, description=says, json_schema_extra={"unit": unit, "source": source})
