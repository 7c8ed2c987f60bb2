# Steward in a small image: built with the pinned packages, run as nobody in particular.
FROM python:3.12-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/steward
COPY requirements.lock pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY engine engine
COPY rules rules
COPY schemas schemas
RUN /opt/steward/bin/pip install --constraint requirements.lock .

FROM python:3.12-slim
# Compiled kernels are kept here, so that a restart does not compile them again.
ENV PATH=/opt/steward/bin:$PATH PYTHONUNBUFFERED=1 NUMBA_CACHE_DIR=/var/cache/steward
RUN useradd --system --uid 10001 --home-dir /var/cache/steward --create-home steward
COPY --from=build /opt/steward /opt/steward
USER 10001
WORKDIR /var/cache/steward
EXPOSE 8080 9464
ENTRYPOINT ["steward"]
CMD ["--help"]
