"""The base of all settings: frozen, checked at construction, and explaining themselves.

Every settings class of the project derives from `Settings`; every field carries a default, bounds and a sentence.
"""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A frozen group of settings; unknown keys are errors.

    Example:
        >>> from pydantic import Field
        >>> class Oven(Settings):
        ...     heat: float = Field(180.0, ge=50, le=280, description="Heat in degrees Celsius.")
        >>> Oven(heat=200).heat
        200.0
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)
