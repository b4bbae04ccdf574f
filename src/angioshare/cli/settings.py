"""Commands `config show` and `presets`: what can be set, and what is shipped."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from angioshare.cli.output import answer, answer_json, table

config_app = typer.Typer(help="Settings with their sentences.", no_args_is_help=True, rich_markup_mode=None)


def show(
    preset: Annotated[str | None, typer.Option(help="Print the resolved settings of this preset.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Print every setting with its default and sentence, or a preset resolved."""
    from angioshare.config import describe, load_config, to_toml
    from angioshare.synthesis.registry import SYNTHESIZERS, synthesizer_class

    if preset is not None:
        resolved = load_config(preset=preset)
        if as_json:
            answer_json(resolved.model_dump(mode="json"))
        else:
            answer(to_toml(resolved))
        return
    rows = describe()
    for name in SYNTHESIZERS:
        rows += describe(synthesizer_class(name).Settings, f"sources.[{name}].settings.")
    if as_json:
        answer_json({key: {"default": default, "description": sentence} for key, default, sentence in rows})
    else:
        table(rows, ("setting", "default", "meaning"))


def presets(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """List the shipped presets."""
    from angioshare.config import preset_names, preset_text

    first = {name: preset_text(name).splitlines()[0].lstrip("# ") for name in preset_names()}
    if as_json:
        answer_json(first)
    else:
        table(list(first.items()), ("preset", "what it is"))


COMMANDS: dict[str, Callable[..., Any]] = {"presets": presets}
