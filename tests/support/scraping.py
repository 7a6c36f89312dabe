"""Prometheus metrics as a scraper reads them."""

import httpx2 as httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.patience import PATIENCE
from tests.support.tokens import bearer

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(base: str, token: str | None = None) -> Samples:
    answer = httpx.get(f"{base}/metrics", headers=bearer(token) if token else {}, timeout=PATIENCE)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name.removeprefix("sales_automation_"), tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def named(name: str, **labels: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    return name, tuple(sorted(labels.items()))
