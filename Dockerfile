# One file for both images:
#
#   docker build --build-arg COMPONENT=operator --tag tenantry-operator:0.1.0 .
#   docker build --build-arg COMPONENT=generator --tag tenantry-generator:0.1.0 .
#
# The base is named by tag for reading. For what you ship, pin it by digest, which a tag does not do:
#   docker build --build-arg PYTHON=python:3.13-slim@sha256:… …
ARG PYTHON=python:3.13-slim
ARG COMPONENT

FROM ${PYTHON} AS build
ARG COMPONENT
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY requirements ./requirements
RUN python -m venv --without-pip /opt/tenantry \
    && pip --python /opt/tenantry/bin/python install --require-hashes -r "requirements/$COMPONENT.txt"
# The wheel's build tools at the versions and hashes of the developers' requirements; none of them reaches the image.
RUN sed -n '/^\(hatchling\|packaging\|pathspec\|pluggy\|tomlkit\|trove-classifiers\)==/,/# via/p' requirements/dev.txt > build.txt \
    && pip install --require-hashes -r build.txt
COPY pyproject.toml README.md LICENSE ./
COPY crds/tenantry ./crds/tenantry
COPY operator/tenantry_operator ./operator/tenantry_operator
COPY generator/tenantry_generator ./generator/tenantry_generator
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip --python /opt/tenantry/bin/python install --no-deps --no-index /wheels/*.whl

FROM ${PYTHON} AS runtime
# Tables are read in threads, and glibc keeps what a thread frees in an arena of that thread's.
ENV PATH=/opt/tenantry/bin:$PATH PYTHONDONTWRITEBYTECODE=1 MALLOC_ARENA_MAX=1
COPY --from=build /opt/tenantry /opt/tenantry
USER 65532:65532

FROM runtime AS operator
EXPOSE 8080
ENTRYPOINT ["tenantry-operator"]

FROM runtime AS generator
EXPOSE 4355
ENTRYPOINT ["tenantry-generator"]

FROM ${COMPONENT}
