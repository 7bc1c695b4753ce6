"""Mistakes in the command line: requests, backups, founding, and the doctor's verdicts. A part of the list."""

from __future__ import annotations

from tests.tools.mutant_kinds import Edit, Mutant

CLUSTER = "raftx/cli/cluster.py"
CHANGER = "raftx/node/changer.py"
FOUND = "raftx/cli/found.py"
INTERPRETED = "raftx/interpreted.py"
REMOTE = "raftx/cli/remote.py"
VERDICT = "raftx/measure/verdict.py"
DOCTOR = "raftx/cli/doctor.py"
WATCH = "raftx/cli/watch.py"

CHANGED = "node/test_membership_changes.py"
ASKED = "cli/test_cli_cluster.py"
FOUNDED = "cli/test_cli_found.py"
EXAMINED = "cli/test_cli_doctor.py"

MUTANTS = (
    Mutant(
        "a-request-that-was-sent-is-sent-again",
        0,
        "a change whose outcome is unknown is given to the next member, and may be made twice",
        ASKED,
        (
            Edit(
                REMOTE,
                "            except Unreachable as error:\n",
                "            except (Unreachable, Unanswered) as error:\n",
            ),
        ),
    ),
    Mutant(
        "an-unknown-outcome-told-as-not-done",
        0,
        "whoever believes that it is safe to repeat does it twice",
        ASKED,
        (Edit(REMOTE, 'before you repeat it", UNKNOWN, found)', 'before you repeat it", NOT_DONE, found)'),),
    ),
    Mutant(
        "a-package-that-is-hidden-is-not-found",
        0,
        "whoever runs a program in the clone is told to install what is installed",
        "node/test_contracts.py",
        (Edit(INTERPRETED, "    other = hidden()\n", "    other = str()\n"),),
    ),
    Mutant(
        "what-another-python-has-compiled-counts",
        0,
        "a package is named that this Python could not import either",
        "node/test_contracts.py",
        (
            Edit(INTERPRETED, 'os.path.join(there, f"_core{end}")', "there"),
            Edit(INTERPRETED, "os.path.isfile", "os.path.isdir"),
        ),
    ),
    Mutant(
        "what-never-was-a-member-passes-for-removed",
        0,
        "raftx remove with a slip in the id ends as done, and the member that was meant stays",
        CHANGED,
        (Edit(CHANGER, "    there = missing_ok\n", "    there = True\n"),),
    ),
    Mutant(
        "a-member-that-is-removed-was-none",
        0,
        "a removal that was made is told as not done, because nobody finds the member afterwards",
        CHANGED,
        (Edit(CHANGER, "        there = True\n        _check_last", "        _check_last"),),
    ),
    Mutant(
        "events-of-another-member",
        0,
        "what a member that has failed tells of itself is shown as that of the one that tells of the cluster",
        ASKED,
        (Edit(WATCH, 'self.admin.only(source[0]).get("/events"', 'self.admin.get("/events"'),),
    ),
    Mutant(
        "a-backup-that-was-cut-off-counts",
        0,
        "a part of a backup gets its name",
        ASKED,
        (
            Edit(REMOTE, "        if self.length is not None and count < self.length:\n", "        if False:\n"),
            Edit(CLUSTER, "seen = reader.verify()", "seen = reader.descriptor"),
        ),
    ),
    Mutant(
        "a-backup-replaces-another",
        0,
        "the only good backup is written over",
        ASKED,
        (Edit(CLUSTER, "if os.path.lexists(file) and not force:", "if os.path.lexists(file) and force:"),),
    ),
    Mutant(
        "a-cluster-that-is-not-well-ends-with-0",
        0,
        "a script that watches the exit code learns nothing of a member that is down",
        ASKED,
        (Edit(CLUSTER, "return DAMAGED if problems else FINE", "return FINE"),),
    ),
    Mutant(
        "a-member-in-doubt-is-well",
        0,
        "whoever waits for a rebuilt member to count takes the next one down too early",
        ASKED,
        (Edit(CLUSTER, '        return "is in doubt: ', '        return ""\n        return "is in doubt: '),),
    ),
    Mutant(
        "an-address-changed-in-the-file-alone-is-not-told",
        0,
        "a member listens where nobody looks for it, and nobody learns why it cannot be reached",
        "node/test_cluster_file.py",
        (
            Edit(
                "raftx/node/planned.py",
                "known == url:\n                continue\n",
                "known != '':\n                continue\n",
            ),
        ),
    ),
    Mutant(
        "a-member-that-was-removed-is-believed",
        0,
        "status tells of a cluster as a member knew it before it was removed",
        ASKED,
        (Edit(REMOTE, "            if runs(checked):\n", "            if checked:\n"),),
    ),
    Mutant(
        "join-forgets-the-file",
        0,
        "the program of a new member does not find it in the file of the cluster",
        FOUNDED,
        (Edit(FOUND, "    if longer is not None:\n        replaced(file.path, longer)\n", ""),),
    ),
    Mutant(
        "the-file-of-a-cluster-replaced-without-a-word",
        0,
        "members and settings of a cluster that runs are gone from its file",
        FOUNDED,
        (Edit(FOUND, '"w" if force else "x"', '"w"'),),
    ),
    Mutant(
        "memory-taken-for-a-disk",
        0,
        "a member is run where a power cut takes what was acknowledged",
        EXAMINED,
        (Edit(VERDICT, "    if found.kind in VOLATILE:\n", "    if not found:\n"),),
    ),
    Mutant(
        "settings-without-room-for-slow-syncs",
        0,
        "the settings that the doctor suggests lead to elections whenever the disk is slow",
        EXAMINED,
        (Edit(VERDICT, "(10 * (trip + late) + 4 * sync) / tick", "(10 * (trip + late)) / tick"),),
    ),
    Mutant(
        "a-removed-member-is-to-be-started",
        0,
        "the doctor takes a member that was removed for one that is down",
        EXAMINED,
        (Edit(VERDICT, "MEMBER if id in members else", "MEMBER if True else"),),
    ),
    Mutant(
        "the-doctor-believes-who-is-in-no-cluster",
        0,
        "a removed member that goes on answering, or another cluster, says who was removed",
        EXAMINED,
        (Edit(DOCTOR, "if not same or not runs(found):", "if not found:"),),
    ),
)
