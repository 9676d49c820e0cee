"""A reference to a secret is not a secret: messages that tell how to write one stay readable."""

from __future__ import annotations

from connector.redact import redact


def test_a_reference_to_a_variable_is_shown():
    assert redact('auth: {token: "${HUBSPOT_TOKEN}"}') == 'auth: {token: "${HUBSPOT_TOKEN}"}'


def test_what_only_begins_like_a_reference_is_not():
    assert "hunter2" not in redact("token: ${hunter2")
    assert "hunter2" not in redact("password=hunter2")


def test_an_article_after_the_name_of_a_secret_is_a_word():
    assert redact("auth.token: a secret is written here") == "auth.token: a secret is written here"
