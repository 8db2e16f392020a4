# matchlib and all it needs, from requirements.lock. Offline once it is built.
#   docker build -t matchlib .
#   docker run --rm -v "$PWD":/matchlib matchlib matchlib run params/demo.yaml
# The mounted repository takes the place of the image's own copy, so that its notebooks and params count and
# its reports stay. torch comes with CUDA where pip's own index has it so (docker run --gpus all; some GB); an image
# without it: --build-arg TORCH_INDEX=<PyTorch's index of wheels for processors>
FROM python:3.11-slim-bookworm

# of torch's wheels; empty: pip's own
ARG TORCH_INDEX=

ENV PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    HOME=/tmp
# git tells a manifest which commit it was made of; any user may read a mounted repository
RUN apt-get update \
    && apt-get install -y --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/* \
    && git config --system --add safe.directory /matchlib

WORKDIR /matchlib
COPY requirements.lock ./
# torch first: the lock names its version and no build, so that what is here already is kept
RUN pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --no-deps "$(grep '^torch==' requirements.lock)" \
    && pip install -r requirements.lock \
    && pip install -c requirements.lock snakemake-executor-plugin-kubernetes==0.5.1
COPY pyproject.toml README.md LICENSE Snakefile shards.smk ./
COPY matchlib matchlib
COPY notebooks notebooks
COPY params params
COPY profiles profiles
COPY reports/reference reports/reference
RUN pip install --no-deps --no-build-isolation -e .

CMD ["matchlib", "--help"]
