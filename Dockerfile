# gta serve from the wheel:   python -m build --wheel && docker build -t gta-serve .
#   docker run --rm -p 127.0.0.1:7860:7860 -v "$PWD/runs/mine:/model:ro" --read-only --tmpfs /tmp gta-serve /model/best.ckpt
FROM python:3.12-slim

# PyTorch of PyPI brings its CUDA libraries; for a smaller image, build with the address of PyTorch's index
# of CPU wheels: --build-arg PIP_EXTRA_INDEX_URL=...
ARG PIP_EXTRA_INDEX_URL

COPY dist/gta_video-*.whl /wheels/
# hadolint ignore=DL3013
RUN wheel="$(ls /wheels/gta_video-*.whl)" \
    && pip install --no-cache-dir "${wheel}[web]" \
    && rm -r /wheels \
    && useradd --create-home --uid 1000 gta

USER 1000
ENV HOME=/tmp MPLCONFIGDIR=/tmp OMP_NUM_THREADS=1
WORKDIR /tmp
EXPOSE 7860
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 7860, timeout=4); \
        c.request('GET', '/v1/health'); raise SystemExit(c.getresponse().status not in (200, 401))"]
ENTRYPOINT ["gta", "serve", "--host", "0.0.0.0", "--port", "7860"]
CMD ["/model/best.ckpt"]
