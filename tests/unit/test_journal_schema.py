"""The journal's database: made once, migrated whole or not at all, refused when it is from the future."""

from __future__ import annotations

import stat

import pytest
import sqlalchemy as sa

from connector.clock import SystemClock
from connector.errors import SettingError, StateError
from connector.journal import Answer, Journal, migrate
from connector.journal.engine import Database
from connector.journal.migrate import MIGRATIONS
from connector.journal.tables import SCHEMA_VERSION, metadata
from tests.fakes import migrations
from tests.fakes.clocks import START
from tests.fakes.databases import fresh_url, on_both  # noqa: F401 - the fixture `journal_url`
from tests.fakes.episodes import enter, episode_of, step_of, take
from tests.fakes.journals import finish, finish_all, kill, spawn

pytestmark = pytest.mark.usefixtures("real_migrations")

OPEN_AND_WRITE = """
import sys
from connector.clock import SystemClock
from connector.journal import Journal
with Journal.open(sys.argv[1], clock=SystemClock()) as journal:
    print(journal.runs.start("pull", playbook_digest="d"))
"""

MIGRATE_AND_DIE = """
import os, signal, sys
import sqlalchemy as sa
from sqlalchemy import event
from connector.clock import SystemClock
from connector.journal import Journal

seen = 0

@event.listens_for(sa.Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    global seen
    seen += "CREATE TABLE" in statement
    if seen == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

Journal.open(sys.argv[1], clock=SystemClock())
"""


DIE_BETWEEN_VERSIONS = """
import os, signal, sys
import sqlalchemy as sa
from sqlalchemy import event
from connector.clock import SystemClock
from connector.journal import Journal

left = int(sys.argv[2])

@event.listens_for(sa.Engine, "before_cursor_execute")
def die(connection, cursor, statement, *rest):
    global left
    left -= statement.lstrip().startswith(("CREATE", "UPDATE alembic_version"))
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

Journal.open(sys.argv[1], clock=SystemClock())
print("migrated")
"""


def open_as_of(url: str, version: str, statement: str) -> Database:
    """A journal at this version, after this statement."""
    from alembic import command
    from alembic.config import Config

    database = Database(url, clock=SystemClock())
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        connection.execute(sa.text(statement))
    return database


def open_as_first_released(url: str) -> Database:
    """A journal at its first version, with something in it."""
    database = open_as_of(url, "0001", "INSERT INTO held_members VALUES ('crm', 'winback · dormant_30', '1')")
    journal = Journal(database)
    journal.cursors.save("crm", "contacts", {"after": "42"}, START)
    journal.held.replace_properties("crm", {"1": {"winback_segment": "cold"}})
    journal.ledger.intend(
        "run-1", "plan-1", destination="crm", step=1, number=1, kind="add_members", target="winback · cold", rows=["1"]
    )
    journal.audit.append("apply", {"run": "run-1"})
    return database


def check_kept(journal: Journal) -> None:
    """What `open_as_first_released` put in is there, and the new tables work."""
    assert journal.held.members("crm") == {"winback · dormant_30": {"1"}}
    assert journal.cursors.load("crm", "contacts") == {"after": "42"}
    assert journal.held.properties("crm") == {"1": {"winback_segment": "cold"}}
    (batch,) = journal.ledger.unresolved()
    assert journal.audit.verify() is None
    begun = episode_of()
    enter(journal, begun)
    take(journal, step_of(begun, target="winback · cold"))
    journal.ledger.confirm(batch.batch_id, START)
    assert journal.episodes.get(begun.episode_id).step_state == "written"


def tables_of(url: str) -> set[str]:
    database = Database(url, clock=SystemClock())
    with database.read() as connection:
        found = set(sa.inspect(connection).get_table_names())
    database.close()
    return found


def test_opening_makes_every_table_and_opening_again_keeps_what_is_there(journal_url):
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        journal.cursors.save("crm", "contacts", {"after": "42"}, START)
    assert tables_of(journal_url) == {*metadata.tables, "alembic_version"}
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        assert journal.cursors.load("crm", "contacts") == {"after": "42"}


def test_the_migrations_make_what_the_tables_module_says(journal_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    Journal.open(journal_url, clock=SystemClock()).close()
    database = Database(journal_url, clock=SystemClock())
    with database.read() as connection:
        differences = compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata)
    database.close()
    assert differences == []


def test_the_newest_migration_is_the_version_the_code_expects():
    from alembic.script import ScriptDirectory

    assert ScriptDirectory(str(MIGRATIONS)).get_current_head() == SCHEMA_VERSION


def test_a_journal_from_a_newer_winback_is_refused_and_left_alone(journal_url):
    Journal.open(journal_url, clock=SystemClock()).close()
    database = Database(journal_url, clock=SystemClock())
    with database.write() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StateError, match="version 9999") as refused:
        Journal.open(journal_url, clock=SystemClock())
    assert "upgrade winback" in str(refused.value.hint)
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "9999"
    database.close()


@pytest.mark.parametrize("at_table", [1, 2, len(metadata.tables) // 2, len(metadata.tables)])
def test_a_migration_killed_half_way_leaves_nothing_and_the_next_open_completes_it(journal_url, at_table):
    process = spawn(MIGRATE_AND_DIE, journal_url, str(at_table))
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert tables_of(journal_url) & set(metadata.tables) == set()
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        assert journal.runs.recent() == ()


def test_a_journal_as_first_released_comes_to_the_present_with_all_that_is_in_it(journal_url):
    open_as_first_released(journal_url).close()
    assert tables_of(journal_url) < {*metadata.tables, "alembic_version"}
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        check_kept(journal)
    assert tables_of(journal_url) == {*metadata.tables, "alembic_version"}


def test_answers_of_before_there_was_more_to_an_answer_are_whole_ones(journal_url):
    row = "(answer_key, contact_id, at, source, reason, score, recorded_at)"
    at = "'2026-11-02 09:30:00.000000+00:00'" if "postgres" in journal_url else "'2026-11-02 09:30:00.000000'"
    open_as_of(
        journal_url, "0002", f"INSERT INTO feedback {row} VALUES ('a', 'crm:1', {at}, 'survey', 'price', 7.0, {at})"
    ).close()
    told = Answer(answer_key="a", contact_id="crm:1", at=START, source="survey", reason="price", score=7.0)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        assert journal.feedback.of("crm:1") == [told]
        assert journal.feedback.record([told]) == 0


def test_both_ways_to_the_present_make_the_same_database(tmp_path):
    for name, first in (("new", False), ("old", True)):
        url = f"sqlite:///{tmp_path / name}"
        if first:
            open_as_first_released(url).close()
        Journal.open(url, clock=SystemClock()).close()
    schemas = []
    for name in ("new", "old"):
        database = Database(f"sqlite:///{tmp_path / name}", clock=SystemClock())
        with database.read() as connection:
            schemas.append(connection.execute(sa.text("SELECT type, name, sql FROM sqlite_master ORDER BY 2")).all())
        database.close()
    assert schemas[0] == schemas[1]


@pytest.mark.parametrize("at", [1, 2, 9, 23, 30, 31, 40, 52])
def test_an_old_journal_whose_migration_was_killed_is_as_before_and_the_next_open_completes_it(journal_url, at):
    database = open_as_first_released(journal_url)
    before = tables_of(journal_url)
    process = spawn(DIE_BETWEEN_VERSIONS, journal_url, str(at))
    process.communicate(timeout=60)
    assert process.returncode == -9
    assert tables_of(journal_url) == before
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar() == "0001"
    database.close()
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        check_kept(journal)


def test_many_processes_may_open_an_old_journal_at_once(journal_url):
    open_as_first_released(journal_url).close()
    runs = {said.strip() for said in finish_all([spawn(OPEN_AND_WRITE, journal_url) for _ in range(4)])}
    assert len(runs) == 4
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        check_kept(journal)


def test_many_processes_may_open_a_new_journal_at_once(journal_url):
    runs = {said.strip() for said in finish_all([spawn(OPEN_AND_WRITE, journal_url) for _ in range(5)])}
    assert len(runs) == 5
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        assert {run.run_id for run in journal.runs.recent()} == runs


def test_an_open_journal_does_not_load_alembic(journal_url):
    Journal.open(journal_url, clock=SystemClock()).close()
    code = OPEN_AND_WRITE + "\nassert 'alembic' not in sys.modules, 'alembic was loaded'"
    finish(spawn(code, journal_url))


def test_a_new_sqlite_journal_is_readable_by_its_owner_only(tmp_path):
    path = tmp_path / "state" / "deep" / "journal.db"
    with Journal.open(f"sqlite:///{path}", clock=SystemClock()) as journal:
        journal.runs.start("pull", playbook_digest="d")
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["journal.db", "journal.db-shm", "journal.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_folder_that_exists_keeps_its_mode(tmp_path):
    tmp_path.chmod(0o755)
    Journal.open(f"sqlite:///{tmp_path / 'journal.db'}", clock=SystemClock()).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_every_sqlite_commit_is_on_disk_before_it_is_acknowledged(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'journal.db'}", clock=SystemClock())
    with database.write() as connection:
        assert connection.execute(sa.text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(sa.text("PRAGMA synchronous")).scalar() == 2
    database.close()


def test_an_error_inside_a_transaction_undoes_it(journal_url):
    Journal.open(journal_url, clock=SystemClock()).close()
    database = Database(journal_url, clock=SystemClock())

    def break_halfway():
        with database.write() as connection:
            connection.execute(sa.text("INSERT INTO held_property_names VALUES ('crm', 'winback_segment')"))
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        break_halfway()
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM held_property_names")).scalar() == 0
    database.close()


def test_a_file_that_is_no_database_is_named(tmp_path):
    path = tmp_path / "journal.db"
    path.write_bytes(b"this is a note about the garden, not a database at all\n" * 40)
    with pytest.raises(StateError, match=r"journal\.db.*not a database") as refused:
        Journal.open(f"sqlite:///{path}", clock=SystemClock())
    assert "backup" in str(refused.value.hint)


@pytest.mark.parametrize("url", ["mysql://user@db/journal", "journal.db", "https://example.com/x"])
def test_only_sqlite_and_postgresql_are_accepted(url):
    with pytest.raises(SettingError, match="journal") as refused:
        Journal.open(url, clock=SystemClock())
    assert "sqlite:///" in str(refused.value.hint)


def test_an_unreachable_server_is_named_without_its_password():
    url = "postgresql://winback:s3cr3t-word@127.0.0.1:1/journal"
    with pytest.raises(StateError, match=r"127\.0\.0\.1") as refused:
        Journal.open(url, clock=SystemClock())
    assert "s3cr3t-word" not in str(refused.value)
    assert "PostgreSQL is running" in str(refused.value.hint)


def test_a_journal_in_memory_serves_several_threads():
    from concurrent.futures import ThreadPoolExecutor

    with Journal.open("sqlite:///:memory:", clock=SystemClock()) as journal, ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: journal.runs.start("pull", playbook_digest="d"), range(20)))
        assert len({*runs}) == 20
        assert len(journal.runs.recent(100)) == 20


def test_a_reader_sees_one_moment_while_another_writes(journal_url):
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        database = journal._database
        with database.read() as connection:
            before = connection.execute(sa.text("SELECT count(*) FROM runs")).scalar()
            journal.runs.start("pull", playbook_digest="d")
            assert connection.execute(sa.text("SELECT count(*) FROM runs")).scalar() == before
        assert len(journal.runs.recent()) == 1


def test_ids_survive_whatever_letters_they_are_made_of(journal_url):
    odd = ["1", "a'b", 'a"b', "a\\b", "ü", "名", "a,b", "[1]", " ", "😀", "%s", ":x"]
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        journal.held.replace_members("crm", "winback · dormant_30", odd)
        assert journal.held.members("crm") == {"winback · dormant_30": set(odd)}


def test_killing_a_writer_frees_the_others(journal_url):
    code = """
import sys
import sqlalchemy as sa
from connector.clock import SystemClock
from connector.journal.engine import Database
database = Database(sys.argv[1], clock=SystemClock())
with database.write() as connection:
    connection.execute(sa.text("INSERT INTO held_property_names VALUES ('crm', 'half')"))
    print("writing", flush=True)
    sys.stdin.read()
"""
    Journal.open(journal_url, clock=SystemClock()).close()
    process = spawn(code, journal_url)
    assert process.stdout.readline() == "writing\n"
    kill(process)
    with Journal.open(journal_url, clock=SystemClock()) as journal:
        journal.runs.start("pull", playbook_digest="d")
        assert journal.held.property_names("crm") == set()


def test_a_journal_made_by_heart_is_the_one_that_the_migrations_make(journal_url, tmp_path, monkeypatch):
    monkeypatch.setattr(migrate, "_upgrade", migrations.once_for_all)
    kind = "sqlite" if journal_url.startswith("sqlite") else "postgres"
    for number in (1, 2):
        folder = tmp_path / str(number)
        folder.mkdir()
        with fresh_url(kind, folder) as url:
            Journal.open(url, clock=SystemClock()).close()
            quick = described(url)
    monkeypatch.setattr(migrate, "_upgrade", migrations.REAL)
    Journal.open(journal_url, clock=SystemClock()).close()
    assert quick == described(journal_url)


def said_of(index) -> str:
    """An index with its condition in words."""
    return str({**index, "dialect_options": {key: str(value) for key, value in index["dialect_options"].items()}})


def described(url: str):
    """Tables with their columns and indexes, and the version."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        seen = sa.inspect(connection)
        version = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one()
        tables = {
            name: (
                [(column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(name)],
                sorted(map(said_of, seen.get_indexes(name))),
                sorted(map(str, seen.get_unique_constraints(name))),
            )
            for name in seen.get_table_names()
        }
    engine.dispose()
    return version, tables
