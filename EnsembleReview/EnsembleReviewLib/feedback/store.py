"""The store of reviews: append-only records in SQLite, masks and images in files beside it.

```
<folder>/feedback.sqlite   records; the database itself refuses to change or delete one
<folder>/masks, images     files named after their content
<folder>/salt              for the hashes of patients
```

What a record names is on the disk before the record is, and a record is written in one transaction: a crash at any
moment (kill -9, power cut) leaves either the whole record or none of it, and never one that names a missing mask.
"""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import SimpleITK as sitk

from MRISegSuiteLib import __version__
from MRISegSuiteLib.errors import BadArguments, BadInput, UnwritableOutput, error_from_write

from .agreement import agreement_of, same_masks
from .content import ContentFolder, geometry_of, image_hash, mask_hash, pack, unpack
from .patients import patient_hash, salt_of
from .review import ACCEPTED, CORRECTED, ORIGINS, REJECTED, Agreement, ExpertRecord, ImageRecord, Record, Review

_SCHEMA_VERSION = 1
_BUSY_S = 30.0  # how long to wait for another process that is writing

_TABLES = """
CREATE TABLE records (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    uid TEXT NOT NULL UNIQUE,
    saved_at TEXT NOT NULL,
    reviewer TEXT NOT NULL,
    origin TEXT NOT NULL CHECK (origin IN ('accepted', 'corrected', 'rejected')),
    comment TEXT NOT NULL,
    image_case TEXT NOT NULL,
    patient TEXT NOT NULL,
    patient_known INTEGER NOT NULL,
    geometry TEXT NOT NULL,
    structures TEXT NOT NULL,
    before_sha256 TEXT NOT NULL,
    after_sha256 TEXT CHECK ((after_sha256 IS NULL) = (origin = 'rejected')),
    fusion TEXT NOT NULL,
    decisions TEXT NOT NULL,
    software TEXT NOT NULL
);
CREATE INDEX records_by_case ON records (image_case);
CREATE TABLE images (
    record INTEGER NOT NULL REFERENCES records (id),
    position INTEGER NOT NULL,
    channel TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    kept INTEGER NOT NULL,
    PRIMARY KEY (record, position)
);
CREATE TABLE experts (
    record INTEGER NOT NULL REFERENCES records (id),
    position INTEGER NOT NULL,
    expert TEXT NOT NULL,
    version TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    run_time_s REAL,
    abstained TEXT NOT NULL,
    PRIMARY KEY (record, position)
);
CREATE TABLE agreement (
    record INTEGER NOT NULL REFERENCES records (id),
    expert_position INTEGER NOT NULL,
    structure TEXT NOT NULL,
    dice REAL NOT NULL,
    volume_ml REAL NOT NULL,
    accepted_volume_ml REAL NOT NULL,
    PRIMARY KEY (record, expert_position, structure)
);
"""
_NAMES = ("records", "images", "experts", "agreement")


class FeedbackStore:
    """A folder with reviews. Several processes may use one at the same time.

    Args:
        folder: made where it is missing.

    Raises:
        UnwritableOutput, DiskFull
        BadInput: the folder holds a database that is damaged or of a newer version.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exception:
            raise error_from_write(exception, self.folder) from exception
        self._path = self.folder / "feedback.sqlite"
        self.masks = ContentFolder(self.folder / "masks", mask_hash)
        self.images = ContentFolder(self.folder / "images", image_hash)
        with self._connection() as connection:
            self._prepare(connection)
        self.masks.sweep()
        self.images.sweep()

    def patient(self, identifier: str) -> str:
        """The salted hash under which this store knows a patient.

        Args:
            identifier: what tells patients apart: a number, a name … It is not kept.
        """
        return patient_hash(salt_of(self.folder), identifier)

    def add(self, review: Review) -> Record:
        """Keep a review and return it as a record. When this returns, it is on the disk.

        Raises:
            BadArguments: a review that contradicts itself, or masks on another grid than the image.
            DiskFull, UnwritableOutput
        """
        self._check(review)
        first = next(iter(review.images.values()))
        structures = sorted(set(review.before) | set(review.after))
        before = self.masks.put(pack(review.before, structures, first))
        after = None if review.origin == REJECTED else self.masks.put(pack(review.after, structures, first))
        images = self._put_images(review)
        case = sha256("".join(image.sha256 for image in images).encode()).hexdigest()
        patient = review.patient or self.patient(f"case {case}")
        experts = [ExpertRecord(e.id, e.version, e.sha256, e.run_time_s, e.abstained,
                                () if after is None else agreement_of(e, review.after)) for e in review.experts]
        row = {
            "uid": str(uuid.uuid4()),
            "saved_at": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
            "reviewer": review.reviewer.strip(),
            "origin": review.origin,
            "comment": review.comment.strip(),
            "image_case": case,
            "patient": patient,
            "patient_known": int(bool(review.patient)),
            "geometry": json.dumps(geometry_of(first)),
            "structures": json.dumps(structures),
            "before_sha256": before,
            "after_sha256": after,
            "fusion": json.dumps(dict(review.fusion)),
            "decisions": json.dumps([dict(decision) for decision in review.decisions]),
            "software": f"MRI Seg Suite {__version__}",
        }
        return self._record(self._insert(row, images, experts))

    def records(self) -> list[Record]:
        """All records, oldest first."""
        with self._connection() as connection:
            ids = [row["id"] for row in connection.execute("SELECT id FROM records ORDER BY id")]
            return [_read_record(connection, number) for number in ids]

    def latest(self) -> list[Record]:
        """The last word on each case, oldest first."""
        with self._connection() as connection:
            ids = [row["id"] for row in connection.execute(
                "SELECT max(id) AS id FROM records GROUP BY image_case ORDER BY id")]
            return [_read_record(connection, number) for number in ids]

    def before(self, record: Record) -> dict[str, sitk.Image]:
        """The masks that were shown. Raises: see :meth:`content.ContentFolder.get`."""
        return unpack(self.masks.get(record.before), record.structures)

    def after(self, record: Record) -> dict[str, sitk.Image] | None:
        """The masks that a person stands for; None for a rejected case. Raises: as :meth:`before`."""
        return None if record.after is None else unpack(self.masks.get(record.after), record.structures)

    # -- how -------------------------------------------------------------------------------------------------------

    def _check(self, review: Review) -> None:
        if review.origin not in ORIGINS:
            raise BadArguments(f"A case is {', '.join(ORIGINS)}, not {review.origin!r}.")
        if not review.reviewer.strip():
            raise BadArguments("Nobody is named as the reviewer.", "Enter who you are.")
        if review.patient and not re.fullmatch(r"[0-9a-f]{64}", review.patient):
            raise BadArguments("A patient is named by the salted hash of this store only.")
        if not review.images:
            raise BadArguments("A review needs the image that was reviewed.")
        if review.origin == REJECTED and review.after:
            raise BadArguments("A rejected case has no accepted masks.")
        if review.origin != REJECTED and not review.after:
            raise BadArguments("There are no masks to accept.", "Reject the case instead.")
        if review.origin == ACCEPTED and not same_masks(review.before, review.after):
            raise BadArguments("The masks were changed: the case is corrected, not accepted as it came.")
        if review.origin == CORRECTED and same_masks(review.before, review.after):
            raise BadArguments("The masks were not changed: the case is accepted as it came, not corrected.")

    def _put_images(self, review: Review) -> list[ImageRecord]:
        records = []
        for channel, image in review.images.items():
            name = self.images.put(image) if review.keep_images else image_hash(image)
            records.append(ImageRecord(channel, name, review.keep_images))
        return records

    def _insert(self, row: dict, images, experts) -> int:
        with self._connection(writing=True) as connection:
            columns, marks = ", ".join(row), ", ".join(f":{name}" for name in row)
            number = connection.execute(f"INSERT INTO records ({columns}) VALUES ({marks})", row).lastrowid
            connection.executemany("INSERT INTO images VALUES (?, ?, ?, ?, ?)", [
                (number, n, image.channel, image.sha256, int(image.kept)) for n, image in enumerate(images)])
            connection.executemany("INSERT INTO experts VALUES (?, ?, ?, ?, ?, ?, ?)", [
                (number, n, e.id, e.version, e.sha256, e.run_time_s, e.abstained) for n, e in enumerate(experts)])
            connection.executemany("INSERT INTO agreement VALUES (?, ?, ?, ?, ?, ?)", [
                (number, n, a.structure, a.dice, a.volume_ml, a.accepted_volume_ml)
                for n, e in enumerate(experts) for a in e.agreement])
        return number

    def _record(self, number: int) -> Record:
        with self._connection() as connection:
            return _read_record(connection, number)

    def _prepare(self, connection) -> None:
        """Make the tables of a new database."""
        if (version := _version(connection)) == 0:
            connection.execute("BEGIN IMMEDIATE")  # another process may be at it
            if (version := _version(connection)) == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    connection.execute(statement)
                for table in _NAMES:
                    for what in ("UPDATE", "DELETE"):
                        connection.execute(f"CREATE TRIGGER {table}_no_{what.lower()} BEFORE {what} ON {table} BEGIN "
                                           "SELECT RAISE(ABORT, 'records are never changed'); END")
                connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
                version = _SCHEMA_VERSION
            connection.execute("COMMIT")
        if version > _SCHEMA_VERSION:
            raise BadInput(f"{self._path} was made by a newer version of MRI Seg Suite.", "Update MRI Seg Suite.")

    @contextmanager
    def _connection(self, writing: bool = False) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)) as connection:
                connection.row_factory = sqlite3.Row
                connection.execute("PRAGMA foreign_keys = ON")
                connection.execute("PRAGMA synchronous = FULL")  # a commit is on the disk when it returns
                if not writing:
                    yield connection
                    return
                connection.execute("BEGIN IMMEDIATE")
                try:
                    yield connection
                except BaseException:
                    connection.execute("ROLLBACK")
                    raise
                connection.execute("COMMIT")
        except sqlite3.OperationalError as exception:
            raise UnwritableOutput(f"{self._path} cannot be used: {exception}.",
                                   "Check the disk, the rights of the folder, and whether another program "
                                   "holds the file.") from exception
        except sqlite3.DatabaseError as exception:
            raise BadInput(f"{self._path} is damaged: {exception}.", "Restore it from a backup.") from exception


def _version(connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _read_record(connection, number: int) -> Record:
    row = connection.execute("SELECT * FROM records WHERE id = ?", (number,)).fetchone()
    images = connection.execute("SELECT * FROM images WHERE record = ? ORDER BY position", (number,)).fetchall()
    experts = connection.execute("SELECT * FROM experts WHERE record = ? ORDER BY position", (number,)).fetchall()
    agreement = connection.execute(
        "SELECT * FROM agreement WHERE record = ? ORDER BY structure", (number,)).fetchall()
    return Record(
        id=row["id"], uid=row["uid"], saved_at=row["saved_at"], reviewer=row["reviewer"], origin=row["origin"],
        comment=row["comment"], case=row["image_case"], patient=row["patient"],
        patient_known=bool(row["patient_known"]), geometry=json.loads(row["geometry"]),
        structures=tuple(json.loads(row["structures"])), before=row["before_sha256"], after=row["after_sha256"],
        fusion=json.loads(row["fusion"]), decisions=tuple(json.loads(row["decisions"])), software=row["software"],
        images=tuple(ImageRecord(i["channel"], i["sha256"], bool(i["kept"])) for i in images),
        experts=tuple(ExpertRecord(
            e["expert"], e["version"], e["sha256"], e["run_time_s"], e["abstained"],
            tuple(Agreement(a["structure"], a["dice"], a["volume_ml"], a["accepted_volume_ml"])
                  for a in agreement if a["expert_position"] == e["position"])) for e in experts))
