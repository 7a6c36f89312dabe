"""The providers. A new one is a module beside this, and a line here."""

from collections.abc import Mapping

from db.domain.webhooks import Normalised, StoredDelivery
from mcp_server.webhooks import brevo, lemlist, mailgun, postmark, resend, sendgrid, ses, standard
from mcp_server.webhooks.base import Malformed, Provider
from mcp_server.webhooks.certificates import Certificates, Fetch, download
from mcp_server.webhooks.parsing import parse


def providers(fetch: Fetch = download) -> Mapping[str, Provider]:
    """Returns name -> provider. `fetch` gets the certificates of Amazon SNS."""
    known = (
        sendgrid.PROVIDER,
        postmark.PROVIDER,
        mailgun.PROVIDER,
        ses.make(Certificates(fetch)),
        resend.PROVIDER,
        brevo.PROVIDER,
        lemlist.PROVIDER,
        standard.PROVIDER,
    )
    return {provider.name: provider for provider in known}


class Normaliser:
    """A `db.domain.webhooks.Normalise`: it raises nothing, whatever the request holds."""

    def __init__(self, known: Mapping[str, Provider]) -> None:
        self._known = known

    def __call__(self, delivery: StoredDelivery) -> Normalised:
        provider = self._known.get(delivery.provider)
        if provider is None:
            return Normalised(invalid=["the provider is unknown to this version"])
        try:
            return provider.normalise(parse(delivery.body), delivery)
        except Malformed:
            return Normalised(invalid=["the body is not JSON"])
