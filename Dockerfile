# The reproduction: docker build --tag inc-tf . && docker run --volume "$PWD/results:/inc/results" inc-tf
FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /inc
COPY Makefile pyproject.toml requirements.txt README.md LICENSE ./
COPY inc_tf inc_tf
COPY reproduce reproduce
COPY checkpoints checkpoints
# A certificate for pip, where the network needs its own.
ARG PIP_CERT
RUN PIP_NO_CACHE_DIR=1 make setup && useradd --create-home inc && mkdir results && chown inc results
USER inc
ENV PATH=/inc/.venv/bin:$PATH
ENTRYPOINT ["inc"]
CMD ["reproduce", "figure_3"]
