"""Which keys name a secret."""

import pytest

from db.domain.secret_names import names_a_secret, secrets_in


@pytest.mark.parametrize(
    "name",
    [
        "api_key", "apiKey", "API-Key", "X-Api-Key", "apikey", "APIKEY", "token", "access_token", "authToken",
        "authtoken",
        "password", "smtpPassword", "smtp.password", "PWD", "secret", "clientSecret", "clientsecret", "SECRET_KEY",
        "webhook-secret", "Authorization", "authorization_header", "bearer", "private key", "privateKey",
        "\uff41\uff50\uff49_key", "credentials", "aws_secret_access_key",
    ],
)  # fmt: skip
def test_a_key_that_names_a_secret_is_known_in_any_spelling(name: str) -> None:
    assert names_a_secret(name)


@pytest.mark.parametrize(
    "name",
    [
        "account",
        "key",
        "sequence_key",
        "max_tokens",
        "tokens",
        "secretary",
        "author",
        "bounce_type",
        "domain",
        "",
        "tokenized",
    ],
)
def test_other_keys_are_not(name: str) -> None:
    assert not names_a_secret(name)


def test_secrets_are_found_however_deep() -> None:
    assert list(secrets_in({"a": [{"b": {"api_key": 1}}, "token"], "password": {"x": 2}})) == ["api_key", "password"]
