# PulseVault for a machine of one's own: the command pulsevault with ffmpeg, and the functions that it can host.
FROM golang:1.26.10-bookworm AS build
ARG GOPROXY
ARG VERSION=dev
ENV CGO_ENABLED=0
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY functions functions
COPY local local
COPY pkg pkg
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    set -e; flags="-buildvcs=false -trimpath"; stamp="-s -w -X pulsevault/pkg/app.Version=$VERSION"; \
    go build $flags -ldflags "$stamp" -o /out/pulsevault ./local/pulsevault; \
    for function in functions/*/; do \
        go build $flags -ldflags "$stamp" -tags lambda.norpc -o "/out/$function/bootstrap" "./$function"; \
    done

FROM debian:12.12-slim AS pulsevault
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates ffmpeg \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin pulsevault \
    && install -d -o pulsevault -g pulsevault -m 750 /mnt/media
COPY --from=build /out/pulsevault /usr/local/bin/pulsevault
USER 10001
ENV HOST=0.0.0.0
EXPOSE 3000
# A volume that is new takes its owner from this folder.
VOLUME /mnt/media
ENTRYPOINT ["pulsevault"]
CMD ["serve"]

# The same with the compiled functions, which `emulate` hosts as AWS does.
FROM pulsevault AS functions
WORKDIR /srv
COPY template.yaml ./
COPY --from=build /out/functions bin/functions
CMD ["emulate"]
