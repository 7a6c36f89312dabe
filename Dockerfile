# The server over HTTP, for a PostgreSQL of your own; compose.yaml brings one along.
#
# State: the tests lint these instructions, and run the command and the health check of the image; no image was built
# by them yet, for want of a container engine where they run. Trust `docker compose ps` more than this file.

FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY mcp_server ./mcp_server
COPY db ./db
COPY migrations ./migrations
# The versions that the tests ran with.
RUN python -m venv /opt/sales-automation \
    && /opt/sales-automation/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.11-slim-bookworm
# A fixed number, so that a file with a secret can be given to it on the host.
RUN useradd --system --no-create-home --uid 10001 --user-group sales \
    && install --directory --owner=sales --group=sales --mode=0700 /var/lib/sales-automation
COPY --from=build /opt/sales-automation /opt/sales-automation
# The local store, with the job queue and the cache, is all that is written outside of the database.
ENV PATH=/opt/sales-automation/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SALES_AUTOMATION_HOME=/var/lib/sales-automation
VOLUME ["/var/lib/sales-automation"]
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
ENTRYPOINT ["sales-automation-mcp"]
# Beyond loopback the server refuses to start without a token: SALES_AUTOMATION_TOKEN_FILE, or one in the database.
CMD ["serve", "--transport", "streamable-http", "--host", "0.0.0.0", "--port", "8000"]
