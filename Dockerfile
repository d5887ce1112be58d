# The image holds one node: a supervisor as pid 1 and its actors. Postgres is outside.
FROM python:3.12-slim AS builder
WORKDIR /app
RUN python -m venv /venv
# Metadata and an empty package are enough to install what Hyperion needs, so that this layer is
# built again only when the requirements change. Editable: the code is found in /app, as in the
# image, where sql/ lies beside it.
COPY setup.cfg pyproject.toml README.md ./
COPY hyperion/__init__.py hyperion/
RUN /venv/bin/pip install --no-cache-dir --disable-pip-version-check --editable .

FROM python:3.12-slim
RUN useradd --uid 1000 --create-home hyperion \
    && mkdir /data \
    && chown hyperion:hyperion /data
COPY --from=builder /venv /venv
WORKDIR /app
COPY supervisor.py NOTICE ./
COPY sql sql
COPY hyperion hyperion
RUN /venv/bin/python -m compileall -q hyperion supervisor.py
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HYPERION_VAR=/data
USER hyperion
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; e = os.environ.get; u.urlopen('http://127.0.0.1:%s/livez' % (e('HYPERION_PORT') or e('PORT') or 7860), timeout=4)"]
ENTRYPOINT ["/venv/bin/python", "supervisor.py"]
