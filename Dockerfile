# syntax=docker/dockerfile:1
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore PIP_PROGRESS_BAR=off
WORKDIR /source
COPY pyproject.toml constraints.txt README.md ./
COPY deploy/install.sh deploy/
COPY tams_gql tams_gql
COPY rest_compat rest_compat
RUN sh deploy/install.sh /opt/tams-gql

FROM python:3.12-slim
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin tams \
 && install --directory --owner=tams --group=tams --mode=0750 /data
COPY --from=build /opt/tams-gql /opt/tams-gql
# Everything is compiled at installation and all data is in /data, so the root file system may be
# read-only. There is no authentication: publish the port to trusted networks only.
ENV PATH=/opt/tams-gql/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TAMS_HOST=0.0.0.0 \
    TAMS_DATA_DIR=/data
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=6s --start-period=30s CMD ["tams-gql", "health"]
CMD ["tams-gql", "serve"]
