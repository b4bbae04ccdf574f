"""Command `fidelity`: two sets of patches side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from angioshare.cli.output import answer_json, progress, say, state_folder, table


def fidelity(
    a: Annotated[str, typer.Argument(help="Set that is judged: RUN, RUN:SOURCE, a folder of patches, or .npz.")],
    b: Annotated[str, typer.Argument(help="Set that it is held against; of a run also RUN:train and RUN:test.")],
    features: Annotated[
        str, typer.Option(help="Feature network: scattering, inception, or a TorchScript file.")
    ] = "scattering",
    patches: Annotated[int, typer.Option(min=2, help="At most so many patches of each set are compared.")] = 10_000,
    similar: Annotated[int, typer.Option(min=2, help="At most so many of each are compared pair by pair.")] = 1000,
    cache: Annotated[
        Path | None, typer.Option(help="Folder where features are kept; a run keeps them by itself.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Compare two sets of patches: FID, KID, density, coverage, mean pairwise SSIM."""
    from angioshare.stages.sets import compare_sets

    found = compare_sets(
        a, b, features=features, patches=patches, similar=similar, cache=cache, state=state_folder(),
        progress=progress(),
    )  # fmt: skip
    for which in ("a", "b"):
        if found[f"scaled_{which}"]:
            say(f"{found[which]}: images are not in [-1, 1]; each patch was scaled by its darkest and brightest pixel")
    if as_json:
        answer_json(found)
        return
    network = "" if found["distance"] == "FID" else f" by {found['features']} features"
    called = {
        "fid": found["distance"], "fid_infinity": f"{found['distance']}, extrapolated",
        "kid": f"{'KID' if not network else 'KD'}{network}",
    }  # fmt: skip
    table([(called.get(key, key), _shown(value)) for key, value in found.items()], ("number", "value"))


def _shown(value: Any) -> str:
    if value is None:
        return "undefined"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


COMMANDS: dict[str, Callable[..., Any]] = {"fidelity": fidelity}
