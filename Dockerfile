# The reproduction: docker build --tag inc-tf . && docker run --volume "$PWD/results:/inc/results" inc-tf
# For GPUs: docker build --build-arg EXTRAS=serve,gpu --tag inc-tf:gpu .
FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates python3 python3-venv
WORKDIR /inc
COPY pyproject.toml setup.py requirements.txt README.md LICENSE ./
COPY inc_tf inc_tf
COPY reproduce reproduce
COPY checkpoints checkpoints
# A certificate for pip, where the network needs its own.
ARG PIP_CERT
ARG EXTRAS=serve
RUN python3 -m venv .venv && .venv/bin/pip install --no-cache-dir --quiet --constraint requirements.txt ".[$EXTRAS]"

FROM docker.io/library/debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates python3 wget \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home inc && mkdir --parents /inc/results && chown --recursive inc /inc
COPY --from=build /inc/.venv /inc/.venv
# All of them, where the wheel has those on the digits.
COPY checkpoints /inc/checkpoints
WORKDIR /inc
USER inc
ENV PATH=/inc/.venv/bin:$PATH INC_CHECKPOINTS=/inc/checkpoints
EXPOSE 8501
# Of `inc serve`; any other command is over before it is asked.
HEALTHCHECK --start-period=120s \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8501/healthz')"]
ENTRYPOINT ["inc"]
CMD ["reproduce", "figure_3"]
