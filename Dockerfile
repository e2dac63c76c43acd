# The reproduction: `docker build --tag inc-tf . && docker run --volume "$PWD/results:/inc/results" inc-tf`
FROM docker.io/library/python:3.11-slim-bookworm
WORKDIR /inc
COPY requirements.txt .
RUN pip install --no-cache-dir --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY inc_tf inc_tf
COPY reproduce reproduce
COPY checkpoints checkpoints
RUN pip install --no-cache-dir --no-deps --no-build-isolation --editable . \
    && useradd --create-home inc && mkdir results && chown inc results
USER inc
ENTRYPOINT ["inc"]
CMD ["reproduce", "figure_3"]
