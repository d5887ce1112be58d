"""The model from a shell: is it usable, what does it see on a photo, how good is it on labelled ones."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from hyperion.errors import EXIT_BAD_CONFIGURATION, BadConfiguration, PhotoUnusable
from hyperion.settings import Settings

T = TypeVar("T")


class _Drawing(click.Path):
    """A picture to be written: what is in its way is said before the photos are looked at, not after."""

    def __init__(self) -> None:
        super().__init__(dir_okay=False, writable=True, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = cast(Path, super().convert(value, param, ctx))  # as path_type says
        try:
            is_there = path.parent.is_dir()
        except OSError as error:  # the way to it is closed, or its name too long
            self.fail(f"'{path.parent}': {error.strerror}", param, ctx)
        if not is_there:
            self.fail(f"there is no folder '{path.parent}'", param, ctx)
        return path


def make_model_commands(settings_of: Callable[[bool], Settings]) -> click.Group:
    """Return the group `model`; `settings_of` reads the settings, for development or not.

    The net is imported by the commands that need it, since other commands should not wait for it.
    """

    @click.group()
    def model() -> None:
        """Check, try and measure the model that looks at the photos."""

    @model.command()
    @click.option("--path", "only_path", is_flag=True, help="Print nothing but the path of the model's file.")
    @click.pass_context
    def check(context: click.Context, *, only_path: bool) -> None:
        """Fetch the model if need be, load it, and say how it is understood."""
        from hyperion.media.detector import trial  # noqa: PLC0415

        settings = settings_of(context.find_root().obj)
        path, loaded = _or_exit(lambda: trial.open_model(settings))
        click.echo(str(path) if only_path else f"{path}\n{trial.described(loaded)}")

    @model.command(name="try")
    @click.argument("photo", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--out", type=_Drawing(), help="Where the drawing goes; default: PHOTO.boxes.jpg")
    @click.pass_context
    def try_(context: click.Context, photo: Path, out: Path | None) -> None:
        """Print what the model sees on PHOTO, and draw it."""
        from hyperion.media.detector import trial  # noqa: PLC0415

        settings = settings_of(context.find_root().obj)
        target = out or photo.with_name(photo.name + trial.DRAWN_SUFFIX)
        if target.resolve() == photo.resolve():
            raise click.UsageError("The drawing would replace the photo.")
        click.echo(_or_exit(lambda: trial.try_photo(settings, photo, target)))
        click.echo(f"drawn in {target}")

    @model.command()
    @click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
    @click.option("--sheet", type=_Drawing(), help="The drawing; default: FOLDER/contact-sheet.jpg")
    @click.pass_context
    def evaluate(context: click.Context, folder: Path, sheet: Path | None) -> None:
        """Measure the model on the photos of FOLDER and their labels in YOLO's form.

        Labels lie beside the photos (a.jpg, a.txt) or in `labels` beside `images`; a photo without
        has nothing on it. Classes are numbered as in `classes.txt`, in FOLDER or beside the labels, else as the
        model's.
        """
        from hyperion.media.detector import trial  # noqa: PLC0415

        settings = settings_of(context.find_root().obj)
        target = sheet or folder / trial.SHEET_NAME
        click.echo(_or_exit(lambda: trial.evaluate_folder(settings, folder, target)))
        click.echo(f"drawn in {target}")

    return model


def _or_exit(act: Callable[[], T]) -> T:
    try:
        return act()
    except BadConfiguration as error:
        for fault in error.faults:
            click.echo(fault, err=True)
        sys.exit(EXIT_BAD_CONFIGURATION)
    except PhotoUnusable as error:
        raise click.ClickException(error.detail) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename}: {error.strerror}") from error
