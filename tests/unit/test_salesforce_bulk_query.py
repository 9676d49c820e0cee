"""One Bulk job against a scripted org: odd lists of links, pieces that break, results that are gone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from adapters.salesforce import bulk_query
from adapters.salesforce.bulk_query import (
    BulkUnavailableError,
    Place,
    Results,
    ResultsGoneError,
    read_tables,
    start_query,
    wait_for,
)
from adapters.salesforce.client import SalesforceClient
from adapters.salesforce.options import SalesforceOptions
from tests.fakes.connections import connect
from tests.fakes.http_server import Asked, Said, serving

JOB = "750000000000001AAA"
PLACE = Place(JOB, "66.0")


@dataclass
class Jobs:
    """An org with one finished job, whose result is cut into pieces of two rows."""

    rows: int = 10
    states: list[str] = field(default_factory=lambda: ["JobComplete"])
    links: bool = True
    links_per_page: int = 2
    forgotten_links: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    broken: int = 0
    url: str = ""

    def __call__(self, asked: Asked) -> Said:
        if asked.path.endswith("/token"):
            return Said(200, {"access_token": "t", "instance_url": self.url})
        if asked.path.endswith("/resultPages"):
            return self.pages(asked)
        if asked.path.endswith("/results"):
            return self.results(asked)
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        return Said(
            200, {"id": JOB, "state": state, "numberRecordsProcessed": self.rows, "errorMessage": "no such 'x'"}
        )

    def pages(self, asked: Asked) -> Said:
        if not self.links:
            return Said(404, [{"errorCode": "NOT_FOUND", "message": "no"}])
        first = int(asked.query.get("page", ["0"])[0])
        starts = list(range(0, self.rows, 2))[: len(range(0, self.rows, 2)) - self.forgotten_links]
        here = starts[first : first + self.links_per_page]
        base = f"/services/data/v66.0/jobs/query/{JOB}"
        body = {"resultPages": [{"resultUrl": f"{base}/results?locator=at{start}"} for start in here]}
        more = first + self.links_per_page < len(starts)
        spelling = "nextRecordUrl" if first else "nextRecordsUrl"
        return Said(200, {**body, "done": not more, spelling: f"{base}/resultPages?page={first + self.links_per_page}"})

    def results(self, asked: Asked) -> Said:
        if self.broken > 0:
            self.broken -= 1
            return Said(200, b"Id\n" + b"x" * 900, cut=300)
        start = int(asked.query.get("locator", ["at0"])[0].removeprefix("at"))
        body = "Id,Name\n" + "".join(
            f'{n},"Zoë, ""{n}""\nsecond line"\n' for n in range(start, min(start + 2, self.rows))
        )
        following = f"at{start + 2}" if start + 2 < self.rows else "null"
        said = {"Sforce-Locator": following, "Sforce-NumberOfRecords": str(min(2, self.rows - start)), **self.headers}
        return Said(200, body.encode(), said)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    monkeypatch.setattr(bulk_query, "ROWS_PER_PIECE", 2)


@contextmanager
def served(jobs, tmp_path):
    with serving(jobs) as server:
        jobs.url = server.url
        auth = {"client_id": "k", "client_secret": "s"}
        options = SalesforceOptions(adapter="salesforce", base_url=server.url, auth=auth, timeout_seconds=2)
        connection = connect(options, tmp_path)
        client = SalesforceClient(connection)
        client.connection = connection
        client.served = server
        try:
            yield client
        finally:
            client.close()


def ids_of(client, tmp_path, place=PLACE, *, total=10):
    return [
        row["Id"]
        for piece in Results(client, place, tmp_path, total=total).pieces()
        for table in read_tables(piece.path, ("Id", "Name"))
        for row in table.to_pylist()
    ]


def fetched(client):
    return [asked.query.get("locator", [None])[0] for asked in client.served.asked if asked.path.endswith("/results")]


ALL = [str(number) for number in range(10)]


@pytest.mark.parametrize(
    "jobs",
    [Jobs(), Jobs(links=False), Jobs(links_per_page=5), Jobs(links_per_page=1), Jobs(broken=2)],
    ids=["links", "no links", "one page of links", "a link a page", "breaks off"],
)
def test_every_piece_is_read_once_and_in_order_with_links_or_without(tmp_path, jobs):
    with served(jobs, tmp_path) as client:
        assert ids_of(client, tmp_path) == ALL
    assert list(tmp_path.iterdir()) == []


def test_links_that_leave_something_out_are_not_the_last_word(tmp_path):
    with served(Jobs(forgotten_links=2), tmp_path) as client:
        assert set(ids_of(client, tmp_path)) == set(ALL)


def test_what_a_linked_piece_says_of_the_next_one_is_not_needed(tmp_path):
    with served(Jobs(headers={"Sforce-Locator": "null"}), tmp_path) as client:
        pieces = [piece.next for piece in Results(client, PLACE, tmp_path, total=10).pieces()]
        assert [place and place.locator for place in pieces] == ["at2", "at4", "at6", "at8", None]


def test_a_reading_goes_on_at_a_locator_and_asks_for_nothing_before_it(tmp_path):
    with served(Jobs(), tmp_path) as client:
        assert ids_of(client, tmp_path, Place(JOB, "66.0", "at6")) == ALL[6:]
        assert fetched(client) == ["at6", "at8"]


def test_few_records_are_one_piece_and_need_no_links(tmp_path):
    with served(Jobs(rows=2), tmp_path) as client:
        assert ids_of(client, tmp_path, total=2) == ["0", "1"]
        assert not any(asked.path.endswith("/resultPages") for asked in client.served.asked)


def test_a_reading_that_is_left_leaves_no_file(tmp_path):
    (tmp_path / f"salesforce-{JOB}-1-at4.csv").write_text("of a process that was killed")
    with served(Jobs(), tmp_path) as client:
        pieces = Results(client, PLACE, tmp_path, total=10).pieces()
        next(pieces)
        pieces.close()
    assert list(tmp_path.iterdir()) == []


def test_the_library_alone_takes_the_lines_of_a_value_for_records(tmp_path):
    from simple_salesforce.bulk2 import SFBulk2Type  # noqa: F401 - the naive way below is the one it uses

    with served(Jobs(rows=2), tmp_path) as client:
        (piece,) = Results(client, PLACE, tmp_path, total=2)._fetched()
        naive = piece.path.read_text("latin-1").splitlines()
        (table,) = read_tables(piece.path, ("Id", "Name"))
    assert len(naive) == 5 and "Zoë" not in naive[1]
    assert table.column("Name").to_pylist() == ['Zoë, "0"\nsecond line', 'Zoë, "1"\nsecond line']


def test_columns_come_in_the_order_asked_for_and_missing_ones_empty(tmp_path):
    path = tmp_path / "piece.csv"
    path.write_text('"Id","Account.Name","Empty"\n"1","Acme",""\n', "utf-8")
    (table,) = read_tables(path, ("Empty", "Account.Name", "Not_There__c"))
    assert table.to_pylist() == [{"Empty": None, "Account.Name": "Acme", "Not_There__c": None}]


@pytest.mark.parametrize("content", ["", '"Id","Name"\n'])
def test_a_piece_without_records_has_none(tmp_path, content):
    path = tmp_path / "piece.csv"
    path.write_text(content, "utf-8")
    assert list(read_tables(path, ("Id",))) == []


def test_a_job_is_waited_for_and_its_count_told(tmp_path):
    with served(Jobs(states=["UploadComplete", "InProgress", "JobComplete"]), tmp_path) as client:
        clock = client.connection.clock
        assert wait_for(client, clock, PLACE, wait=timedelta(minutes=1)) == 10
        assert clock.slept >= 3


@pytest.mark.parametrize("state", ["Failed", "Aborted", ""])
def test_a_job_that_ended_badly_says_why(tmp_path, state):
    with (
        served(Jobs(states=[state]), tmp_path) as client,
        pytest.raises(BulkUnavailableError, match=state or "no state"),
    ):
        wait_for(client, client.connection.clock, PLACE, wait=timedelta(minutes=1))


def test_a_job_that_is_gone_is_told_from_one_that_cannot_be_had(tmp_path):
    def gone(asked: Asked) -> Said:
        if asked.path.endswith("/token"):
            return Said(200, {"access_token": "t", "instance_url": jobs.url})
        return Said(404, [{"errorCode": "NOT_FOUND", "message": "The requested resource does not exist"}])

    jobs = Jobs()
    with serving(gone) as server:
        jobs.url = server.url
        auth = {"client_id": "k", "client_secret": "s"}
        options = SalesforceOptions(adapter="salesforce", base_url=server.url, auth=auth)
        client = SalesforceClient(connect(options, tmp_path))
        with pytest.raises(ResultsGoneError):
            wait_for(client, connect(options, tmp_path).clock, PLACE, wait=timedelta(minutes=1))
        with pytest.raises(ResultsGoneError):
            ids_of(client, tmp_path)
        with pytest.raises(BulkUnavailableError):
            start_query(client, "SELECT Id FROM Contact", deleted=True)
        client.close()
    assert list(tmp_path.iterdir()) == []
