"""Messages into channels: plain text, to the playbook's own addresses, and no address in any error."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator

import pytest

from connector.errors import ConfigurationError, RejectedError, RetriableError
from connector.live.alerts import LONGEST_TEXT, Alerts
from tests.fakes.plan_world import StillClock

SECRET_PART = "T0/B0/secret-part"  # of an address


class Channel:
    """A server that takes messages, or does not."""

    def __init__(self) -> None:
        self.got: list[dict] = []
        self.status, self.headers = 200, {}
        channel = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                channel.got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(channel.status)
                for name, value in channel.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                return

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/services/{SECRET_PART}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()


@pytest.fixture
def channel() -> Iterator[Channel]:
    made = Channel()
    yield made
    made.server.shutdown()
    made.server.server_close()


def alerts(channel: Channel) -> Alerts:
    return Alerts({"slack": channel.url, "teams": channel.url}, clock=StillClock())


def test_slack_gets_plain_text_in_which_nothing_mentions_or_links(channel):
    text = "<!channel> *bold* & <https://evil.example|here> `x`"
    alerts(channel).send("slack", text)
    (message,) = channel.got
    assert message["text"] == "&lt;!channel&gt; *bold* &amp; &lt;https://evil.example|here&gt; `x`"
    assert message["mrkdwn"] is False
    assert message["blocks"] == [{"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}]


def test_teams_gets_an_adaptive_card_whose_text_reads_no_markdown(channel):
    alerts(channel).send("teams", "[here](https://evil.example)")
    (message,) = channel.got
    card = message["attachments"][0]["content"]
    assert (message["type"], card["type"]) == ("message", "AdaptiveCard")
    run = {"type": "TextRun", "text": "[here](https://evil.example)"}
    assert card["body"] == [{"type": "RichTextBlock", "inlines": [run]}]


def test_a_long_text_is_cut(channel):
    alerts(channel).send("slack", "x" * 5_000)
    assert len(channel.got[0]["blocks"][0]["text"]["text"]) == LONGEST_TEXT


@pytest.mark.parametrize(
    ("status", "error"), [(302, RejectedError), (404, RejectedError), (429, RetriableError), (500, RetriableError)]
)
def test_an_answer_that_is_no_success_is_told_without_the_address(channel, status, error):
    channel.status = status
    channel.headers = {"Location": "http://169.254.169.254/"} if status == 302 else {"Retry-After": "7"}
    with pytest.raises(error) as caught:
        alerts(channel).send("slack", "hello")
    assert SECRET_PART not in f"{caught.value} {caught.value.hint}"
    assert len(channel.got) == 1
    if error is RetriableError:
        assert caught.value.retry_after_seconds == 7


def test_a_channel_that_is_not_there_is_told_without_the_address(channel):
    channel.server.shutdown()
    channel.server.server_close()
    with pytest.raises(RetriableError) as caught:
        alerts(channel).send("slack", "hello")
    assert SECRET_PART not in str(caught.value)


@pytest.mark.parametrize("host", ["10.0.0.1", "169.254.169.254", "[::ffff:192.168.0.1]", "[fd00::1]", "0x7f.1"])
def test_an_address_inside_a_network_is_never_called(host):
    with pytest.raises(RetriableError):
        Alerts({"slack": f"https://{host}/services/x"}, clock=StillClock()).send("slack", "hello")


def test_a_channel_the_playbook_does_not_name_is_an_error_that_says_where_to_add_it():
    with pytest.raises(ConfigurationError) as caught:
        Alerts({}, clock=StillClock()).send("slack", "hello")
    assert "alerts" in str(caught.value.hint)
