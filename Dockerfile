# PyTorch Video Analysis on Python's slim image; pip installs requirements.txt and the extras. See docs/container.md.
#   docker build -t video-analysis .
#   docker build -t video-analysis --build-arg TORCH_INDEX=URL .     with one of PyTorch's indexes, such as that for CPUs
FROM python:3.12-slim

ARG TORCH_INDEX=
ARG UID=1000

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    MPLBACKEND=Agg

RUN useradd --create-home --uid "$UID" trainer
WORKDIR /project

COPY requirements.txt requirements-extras.txt ./
RUN python -m pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -r requirements-extras.txt -r requirements.txt

COPY --chown=trainer . .
RUN mkdir -p data pretrained exps && chown trainer . data pretrained exps

USER $UID
VOLUME ["/project/data", "/project/pretrained", "/project/exps"]

ENTRYPOINT ["python"]
CMD ["main.py", "--help"]
