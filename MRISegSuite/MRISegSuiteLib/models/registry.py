"""Which models there are: those that come with the suite and those that the user added. Offline throughout."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ..errors import BadArguments, BadInput, ModelHashMismatch, ModelMissing, SuiteError, UnsafeModel, error_from_write
from ..files import replace
from ..user_data import user_data_folder
from .archives import unpack_zip
from .card import CARD_NAME, Card, InvalidCard
from .drafts import explain_missing_card
from .verified_files import VerifiedFiles

ENVIRONMENT_VARIABLE = "MRISEG_MODELS"
EMBEDDED_FOLDER = Path(__file__).resolve().parents[2] / "Resources" / "Models"
_WEIGHT_ENDINGS = (".pt2", ".ts", ".pt", ".pth")


def user_folder() -> Path:
    """Where the user's own models are kept: ``MRISEG_MODELS``, else the platform's folder for application data."""
    chosen = os.environ.get(ENVIRONMENT_VARIABLE)
    return Path(chosen).expanduser() if chosen else user_data_folder() / "Models"


class Registry:
    """The models of this computer.

    Args:
        extra_dirs: further folders of models to read, after the embedded and the user's own.
        user_dir: where ``add`` puts models; :func:`user_folder` by default.
    """

    def __init__(self, extra_dirs: Iterable[Path | str] = (), user_dir: Path | str | None = None):
        self.user_dir = Path(user_dir) if user_dir is not None else user_folder()
        self.extra_dirs = [Path(folder) for folder in extra_dirs]

    def cards(self, task: str | None = None) -> list[Card]:
        """All valid cards (of one task): embedded ones first, then by id. The first of an id wins."""
        found: dict[str, Card] = {}
        for item in self._read():
            if isinstance(item, Card) and (task is None or item.task == task):
                found.setdefault(item.id, item)
        return sorted(found.values(), key=lambda card: (not card.embedded, card.id))

    def broken(self) -> list[SuiteError]:
        """What is wrong with the model folders whose card cannot be used."""
        return [item for item in self._read() if isinstance(item, SuiteError)]

    def get(self, model_id: str) -> Card:
        """The card of a model.

        Raises:
            ModelMissing: naming the models that are there.
        """
        cards = self.cards()
        for card in cards:
            if card.id == model_id:
                return card
        there = ", ".join(card.id for card in cards) or "none"
        problems = " ".join(str(error) for error in self.broken())
        raise ModelMissing(
            f"There is no model {model_id!r}. Models here: {there}. {problems}",
            f"Choose one of these, or add yours: mriseg models add PATH (kept in {self.user_dir}).",
        )

    def choose(self, task: str, model_id: str | None = None, sha256: str | None = None) -> Card:
        """The model for a task: the one named, else the first (an embedded one).

        Args:
            task: what the model must be for, such as ``knee``.
            model_id: the model that was asked for, if any.
            sha256: the hash that it must have (a job that runs again must find the same weights).

        Raises:
            ModelMissing: no model of that id, or none for the task.
            BadArguments: it is for another task.
            ModelHashMismatch: it has another hash.
        """
        if not model_id:
            cards = self.cards(task)
            if not cards:
                raise ModelMissing(
                    f"There is no model for {task} on this computer.",
                    "Add one in the module MRI Seg Suite, or with: mriseg models add PATH",
                )
            return cards[0]
        card = self.get(model_id)
        if card.task != task:
            raise BadArguments(f"The model {model_id} is for {card.task}, not for {task}.", "See: mriseg models list")
        if sha256 and sha256 != card.sha256:
            raise ModelHashMismatch(
                f"The job asks for the model {model_id} with the hash {sha256[:12]}…; the one here has "
                f"{card.sha256[:12]}….",
                "Use the same version of the model, or start a new job.",
            )
        return card

    def check(self, model_id: str) -> Card:
        """Hash every file of a model.

        Raises:
            ModelMissing, ModelHashMismatch
        """
        card = self.get(model_id)
        VerifiedFiles(card)
        return card

    def add(self, path: Path | str) -> Card:
        """Copy a model into the user's folder: a model folder, its card, a .zip of it, or a weights file with its card
        beside (``<name>.json`` or ``model.json``). Only the files that the card names are copied, and only if their
        hashes are right. Either the whole model is there afterwards or nothing.

        Raises:
            BadInput: nothing there, or no card; the message says what to write.
            InvalidCard, ModelMissing, ModelHashMismatch, UnsafeModel, BadArguments (the id is taken), DiskFull,
            UnwritableOutput
        """
        path = Path(path).expanduser()
        if not path.exists():
            raise BadInput(f"{path} does not exist.", "Check the path.")
        try:
            self.user_dir.mkdir(parents=True, exist_ok=True)
            aside = Path(tempfile.mkdtemp(prefix=".adding-", dir=self.user_dir))
        except OSError as exception:
            raise error_from_write(exception, self.user_dir) from exception
        try:
            if path.is_file() and path.suffix.lower() == ".zip":
                unpack_zip(path, aside / "archive")
                source = _only_folder(aside / "archive")
            else:
                source = path
            return self._install(_card_for(source), aside / "model")
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def remove(self, model_id: str) -> None:
        """Delete a model of the user.

        Raises:
            ModelMissing: there is none of that id.
            BadArguments: it is not the user's own.
        """
        card = self.get(model_id)
        if card.folder.parent != self.user_dir:
            raise BadArguments(
                f"The model {model_id} lies in {card.folder}, which is not your model folder ({self.user_dir}).",
                "Only models that you added can be removed.",
            )
        doomed = self.user_dir / f".removing-{os.getpid()}-{card.folder.name}"
        try:
            # Renamed first: whoever lists the models meanwhile sees it whole or not at all.
            replace(card.folder, doomed)
            shutil.rmtree(doomed)
        except OSError as exception:
            raise error_from_write(exception, card.folder) from exception

    def _read(self) -> Iterable[Card | SuiteError]:
        for folder in [EMBEDDED_FOLDER, self.user_dir, *self.extra_dirs]:
            if not folder.is_dir():
                continue
            for model in sorted(folder.iterdir()):
                if model.name.startswith(".") or not (model / CARD_NAME).is_file():
                    continue
                try:
                    card = Card.read(model)
                except InvalidCard as error:
                    yield error
                    continue
                card.embedded = folder == EMBEDDED_FOLDER
                yield card

    def _install(self, card: Card, aside: Path) -> Card:
        taken = next((other for other in self.cards() if other.id == card.id), None)
        target = self.user_dir / card.id
        if taken is not None or target.exists():
            where = "comes with MRI Seg Suite" if taken is not None and taken.embedded else "is there already"
            raise BadArguments(
                f"A model {card.id!r} {where}.", "Give yours another id in its card, or remove the other one first."
            )
        _refuse_links(card)
        VerifiedFiles(card)
        try:
            for entry in card.files:
                copy = aside / entry["path"]
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(card.path_of(entry["path"]), copy)
            Path(aside / CARD_NAME).write_text(_as_json(card), encoding="utf-8")
            VerifiedFiles(Card.read(aside))
            replace(aside, target)
        except OSError as exception:
            raise error_from_write(exception, target) from exception
        return Card.read(target)


def _card_for(source: Path) -> Card:
    if source.is_dir():
        if (source / CARD_NAME).is_file():
            return Card.read(source)
        raise explain_missing_card(source)
    if source.suffix.lower() == ".json":
        return Card.read(source)
    if source.suffix.lower() not in _WEIGHT_ENDINGS:
        raise BadInput(
            f"{source} is no model that is known here.",
            f"A model is a folder with a card ({CARD_NAME}), a .zip of it, or a file "
            f"({', '.join(_WEIGHT_ENDINGS)}) with its card beside.",
        )
    for beside in (source.with_suffix(".json"), source.with_name(CARD_NAME)):
        if beside.is_file():
            card = Card.read(beside)
            if source.name in [entry["path"] for entry in card.files]:
                return card
            raise InvalidCard(
                f"{beside} does not name {source.name} under 'files'.", "Add it, with its sha256 and size."
            )
    raise explain_missing_card(source)


def _only_folder(folder: Path) -> Path:
    """A .zip often holds one folder which holds the model."""
    inside = [item for item in folder.iterdir() if item.name != "__MACOSX"] if folder.is_dir() else []
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder


def _refuse_links(card: Card) -> None:
    for entry in card.files:
        path = card.folder
        for part in entry["path"].split("/"):
            path = path / part
            if path.is_symlink():
                raise UnsafeModel(f"{path} is a link; a model must hold its files itself.", "Copy the file there.")


def _as_json(card: Card) -> str:
    return json.dumps(card.content, indent=2, ensure_ascii=False) + "\n"
