"""The flags of the commands that keep a lake: imports nothing heavy, for ``--help``."""

import argparse
from pathlib import Path

from schemas import history, messages
from schemas.files.urls import PLACE
from terminal.arguments import BEAM_AND_BUCKETS, LAKE, add_lake, add_quiet, command_parser, day, duration, whole
from terminal.printing import printable

MAX_REASON = 200
REASONS = sorted(
    {text for reasons in (history.Reason, messages.Reason) for name, text in vars(reasons).items() if name.isupper()}
)
"""All reasons of dead letters."""

COMPACT = f"""\
examples:
  prestacop compact --lake data/lake --dry-run
  prestacop compact --lake data/lake
  prestacop compact --lake s3://prestacop/lake --file-mb 256 --retention 7d
  prestacop compact --lake data/lake --retention 0s    # no reader has the lake open

Run it by cron, every few minutes. It is safe to run while others write, read and compact, and safe to stop at any
moment: the next run continues. It adds committed units to the tables, merges their small files, and deletes files that
were replaced longer ago than the retention. A query must end within the retention, and time travel goes back as far.
--deep lists all files, and also deletes those that killed compactions have left, and pictures that drones have uploaded
and no message has named for --keep-uploads.

{BEAM_AND_BUCKETS}

exit codes: 0 done, 1 rows in and rows out differ, 2 wrong usage, 3 there is no lake, 4 service unavailable, 5 disk
full, 6 a vacuum deleted a file before it was read: run it again
"""

REPLAY = f"""\
examples:
  prestacop replay --lake data/lake --reason time_unreadable
  prestacop replay --lake s3://prestacop/lake --reason field_invalid
  prestacop replay --lake data/lake --reason answer_unsigned --officer-keys officers.pem

A dead letter that is valid now moves to its dataset, with its old unit and record number; one that another rule refuses
gets the new reason; others are unchanged. It is idempotent, safe to run while others write and read, and safe to stop:
its result becomes visible atomically.

{BEAM_AND_BUCKETS}

exit codes: 0 done, 1 rows in and rows out differ, 2 wrong usage, 3 there is no lake, 4 service unavailable, 5 disk
full, 6 a vacuum deleted a file before it was read: run it again
"""

RECONCILE = """\
examples:
  prestacop reconcile --lake data/lake
  prestacop reconcile --lake s3://prestacop/lake

A line that begins with "notice:" is a hint, such as foreign files at the lake's root; it does not change the exit code.

exit codes: 0 everything adds up, 1 it does not (each unit is named), 3 there is no lake, 4 service unavailable,
6 a vacuum deleted a file before it was read: run it again
"""

TRACE = """\
examples:
  prestacop trace 2cfedfe41ab83ac4ec650bde764fa961
  prestacop trace 8002531292 --lake s3://prestacop/lake

A dead letter is found by each of these ids that its payload contains.

exit codes: 0 found, 2 wrong usage, 3 not in this lake, or there is no lake, 4 service unavailable,
6 a vacuum deleted a file before it was read: run it again
"""

UNDO = """\
examples:
  prestacop undo --lake data/lake --list
  prestacop undo --lake data/lake drones-00000-38805221e67073128c021233d155a53d --dry-run
  prestacop undo --lake s3://prestacop/lake tickets.csv --reason 'tickets given as messages' --yes
  prestacop undo --lake data/lake tickets.csv --back
  prestacop undo --lake data/lake tickets.csv --again

UNIT is a unit's name, or the path of an input, for all its units; --list shows both. Readers no longer see their rows,
including those that a compaction merged or a replay moved. Copies of their messages that a publication dropped from
other units are restored. A row in the ledger records who, when, why, and how many rows. It is safe to run while others
write and read, and safe to stop: its result becomes visible atomically.

The ledger still has the units, so the same input is skipped and a stream resumes after its last committed offset.
--back restores the same rows, until a vacuum (prestacop compact) deletes their files. --again lets the next run read
the same file once more, as another unit, with the flags of that run. Published pictures, large payloads, alerts and
live panes are not removed.

exit codes: 0 done, or done before, 1 rows in and rows out differ, 2 wrong usage, 3 no lake, no such unit, or its files
are deleted, 4 service unavailable, 5 disk full, 6 a vacuum deleted a file before it was read: run it again, 7 no
permission
"""


FORGET = """\
examples:
  prestacop forget --lake data/lake --plate ABC1234 --dry-run
  prestacop forget --lake data/lake --plate ABC1234 --reason 'request 17 of the data protection officer'
  prestacop forget --lake s3://prestacop/lake --before 2025-01-01
  prestacop forget --lake data/lake --list

--plate erases the rows with this plate (of all states; blanks, signs and case make no difference), the dead letters
that contain it as a word, the pictures of these messages, and all older versions of their files, so that time travel
does not show them either. A tombstone, a keyed hash, keeps the same events from being stored again; events after now
are kept. --before erases positions and pictures. Counts and statistics are reduced, and reconcile adds up. It cannot be
undone and does not ask for confirmation: use --dry-run first.

It is safe to run while others write and read, and safe to stop: run the same command again. It does not erase topics,
the city's files, copies and backups, old versions in a versioned bucket, the loader's spool, reports, sent alerts, and
the console's database.

exit codes: 0 done, 1 rows in and rows out differ, 2 wrong usage, 3 there is no lake, or it is damaged, 4 service
unavailable, 5 disk full, 6 units that are not committed contain it: run it again when they are, 7 no permission
"""


def compact() -> argparse.ArgumentParser:
    """Of ``prestacop compact``."""
    parser = command_parser(
        "prestacop compact",
        "Publish what is committed, merge the small files of the tables, and delete replaced files.",
        COMPACT,
    )
    add_lake(parser)
    parser.add_argument(
        "--file-mb",
        type=whole(1, 1024),
        default=64,
        metavar="N",
        help="size of a merged file in MB, which has a million rows at most (default: 64)",
    )
    parser.add_argument(
        "--retention",
        type=duration,
        default=86_400,
        metavar="TIME",
        help="delete files that were replaced at least this long ago (default: 1d)",
    )
    parser.add_argument(  # the flag's former name
        "--older-than", type=duration, dest="retention", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )
    parser.add_argument("--vacuum", action="store_true", help="publish and merge nothing, only delete replaced files")
    parser.add_argument(
        "--deep",
        action="store_true",
        help="list all files, and also delete those that killed compactions have left, and old uploads without a row",
    )
    parser.add_argument(
        "--keep-uploads",
        type=duration,
        default=30 * 86_400,
        metavar="TIME",
        help="with --deep: keep uploaded pictures that no message has named for this time, which must be longer than "
        "the images' topic keeps messages (default: 30d)",
    )
    parser.add_argument("--dry-run", action="store_true", help="print what would be published, merged and deleted")
    add_quiet(parser)
    return parser


def replay() -> argparse.ArgumentParser:
    """Of ``prestacop replay``."""
    parser = command_parser(
        "prestacop replay",
        "Validate the dead letters of one reason again, after a rule was fixed.",
        REPLAY,
    )
    add_lake(parser)
    parser.add_argument(
        "--reason",
        required=True,
        metavar="REASON",
        choices=REASONS,
        help=f"read the dead letters with this reason: {', '.join(REASONS)}",
    )
    parser.add_argument(
        "--officer-keys",
        type=Path,
        metavar="FILE",
        help="public keys (PEM) that verify officers' answers, for --reason answer_unsigned",
    )
    add_quiet(parser)
    return parser


def reconcile() -> argparse.ArgumentParser:
    """Of ``prestacop reconcile``."""
    parser = command_parser(
        "prestacop reconcile",
        "Check that every input row is in the lake exactly once, and that no file is missing or damaged.",
        RECONCILE,
    )
    lake_flags = parser.add_mutually_exclusive_group(required=True)
    lake_flags.add_argument("--lake", metavar=LAKE, help=f"the lake: {PLACE}")
    lake_flags.add_argument("--output", dest="lake", help=argparse.SUPPRESS)  # the flag's former name
    add_quiet(parser)
    return parser


def trace() -> argparse.ArgumentParser:
    """Of ``prestacop trace``."""
    parser = command_parser(
        "prestacop trace",
        "Print where a message or summons came from, and what the lake has about it.",
        TRACE,
    )
    parser.add_argument(
        "id", metavar="ID", help="a message_id, an image_id, a summons number, Pub/Sub's own id, or UNIT/RECORD"
    )
    parser.add_argument(
        "--lake",
        default="data/lake",
        metavar=LAKE,
        help=f"the lake: {PLACE} (default: data/lake)",
    )
    return parser


def undo() -> argparse.ArgumentParser:
    """Of ``prestacop undo``."""
    parser = command_parser(
        "prestacop undo",
        "Remove units from the lake, or restore them.",
        UNDO,
    )
    parser.add_argument("units", nargs="*", metavar="UNIT", help="a unit's name, or the path of its input")
    add_lake(parser)
    parser.add_argument("--reason", default="", metavar="TEXT", type=_reason, help="why, in one line, for the ledger")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--back", action="store_true", help="restore the rows of units that were undone")
    what.add_argument(
        "--again", action="store_true", help="let the next run read the input of undone units as new units"
    )
    what.add_argument("--list", action="store_true", help="print all units in the order of their commits, and stop")
    parser.add_argument("--dry-run", action="store_true", help="print what would be removed or restored, and stop")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_quiet(parser)
    return parser


def forget() -> argparse.ArgumentParser:
    """Of ``prestacop forget``."""
    parser = command_parser(
        "prestacop forget",
        "Erase a plate, or old positions and pictures, from the lake for good.",
        FORGET,
    )
    add_lake(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--plate", metavar="ID", type=_plate, help="erase all rows of this plate with an event until now")
    what.add_argument(
        "--before", metavar="DATE", type=day, help="erase positions and pictures before this day (UTC): 2025-01-31"
    )
    what.add_argument("--list", action="store_true", help="print what was erased, when and by whom, and stop")
    parser.add_argument("--reason", default="", metavar="TEXT", type=_reason, help="why, in one line, for the ledger")
    parser.add_argument("--dry-run", action="store_true", help="print what would be erased, and stop")
    add_quiet(parser)
    return parser


def _plate(text: str) -> str:
    if not any(character.isalnum() for character in text):
        raise argparse.ArgumentTypeError("a plate has letters or digits")
    return text


def _reason(text: str) -> str:
    if len(text) > MAX_REASON or not printable(text) == text or "\n" in text:
        raise argparse.ArgumentTypeError(f"write one line of at most {MAX_REASON} characters")
    return text
